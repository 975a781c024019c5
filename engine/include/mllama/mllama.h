/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libmllama: Llama 3.2-Vision (Mllama) inference.
 *
 * The nouns, in the order they are met:
 *
 *   MllamaModel       a checkpoint on one device, with the thread that runs it
 *   MllamaImage       a borrowed view of a picture's planes
 *   MllamaStates      the cached cross-attention states of one picture
 *   MllamaPrompt      token ids, with one mark for each picture
 *   MllamaGeneration  one running answer
 *
 * A picture is encoded once; every prompt about it reuses its states:
 *
 *   model  = mllama_model_open ("/path/of/checkpoint", NULL, &error);
 *   mllama_model_load (model, NULL, &error);
 *   states = mllama_model_encode (model, &image, MLLAMA_SEMANTICS_META, 0, NULL, &error);
 *   prompt = mllama_prompt_new_question (model, "What is this?", 1, &error);
 *   answer = mllama_model_generate (model, prompt, &states, 1, NULL, &error);
 *   puts (mllama_generation_get_result (answer)->text);
 *
 * Every call that can fail takes a GError ** and says what was expected, what was found
 * and what to do. Nothing exits, aborts or prints. Unless a header says otherwise,
 * functions are thread-safe and settings structs mean their defaults when all zero. */
#pragma once

#include <mllama/config.h>
#include <mllama/error.h>
#include <mllama/generation.h>
#include <mllama/image-processor.h>
#include <mllama/image.h>
#include <mllama/model.h>
#include <mllama/prompt.h>
#include <mllama/states.h>
#include <mllama/tokenizer.h>
