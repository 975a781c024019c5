-- SPDX-License-Identifier: LGPL-2.1-or-later
-- The index of mllama-archive. PRAGMA user_version is the version of this schema: 1. Times are nanoseconds; of files
-- since 1970, of captions since the clip's start. A program that meets a greater version leaves the file alone.

-- What decides captions but for the clip: lines NAME=VALUE, and their SHA-256.
CREATE TABLE settings (id INTEGER PRIMARY KEY, hash TEXT NOT NULL UNIQUE, text TEXT NOT NULL);

CREATE TABLE questions (id INTEGER PRIMARY KEY, name TEXT NOT NULL, prompt TEXT NOT NULL, UNIQUE (name, prompt));

-- path is absolute. output is what the names of the clip's files begin with: output.jsonl, output.vtt, output.srt,
-- output.thumbs/. error is NULL for a clip that was annotated; one that failed has no captions.
CREATE TABLE clips (id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, size INTEGER NOT NULL, modified_ns INTEGER NOT NULL,
  duration_ns INTEGER, width INTEGER, height INTEGER, settings INTEGER NOT NULL REFERENCES settings, output TEXT, error TEXT,
  annotated_ns INTEGER NOT NULL);

-- thumbnail is a file in the clip's output.thumbs/.
CREATE TABLE captions (id INTEGER PRIMARY KEY, clip INTEGER NOT NULL REFERENCES clips ON DELETE CASCADE,
  question INTEGER NOT NULL REFERENCES questions, start_ns INTEGER NOT NULL, end_ns INTEGER NOT NULL, text TEXT NOT NULL,
  confidence REAL, thumbnail TEXT);
CREATE INDEX captions_of_clips ON captions (clip, start_ns);

-- Words of captions by their stems, beside the table itself.
CREATE VIRTUAL TABLE captions_text USING fts5 (text, content = 'captions', content_rowid = 'id',
  tokenize = 'porter unicode61 remove_diacritics 2');
CREATE TRIGGER captions_come AFTER INSERT ON captions BEGIN
  INSERT INTO captions_text (rowid, text) VALUES (new.id, new.text);
END;
CREATE TRIGGER captions_go AFTER DELETE ON captions BEGIN
  INSERT INTO captions_text (captions_text, rowid, text) VALUES ('delete', old.id, old.text);
END;

PRAGMA user_version = 1;
