/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Properties, pads and children as gst-inspect-1.0 and gst-launch-1.0 see them. */
#include "rig.h"
#include <string.h>

typedef enum {
  READY = GST_PARAM_MUTABLE_READY,
  PLAYING = GST_PARAM_MUTABLE_PLAYING,
  READ_ONLY = 0,
} Mutable;

static const struct {
  const char *name;
  GType type; /* 0: GST_TYPE_ARRAY or GST_TYPE_STRUCTURE */
  Mutable changes;
  const char *initial; /* as gst_value_serialize writes it */
} table[] = {
    {"model", G_TYPE_STRING, READY, NULL},
    {"device", G_TYPE_ENUM, READY, "auto"},
    {"cuda-device-id", G_TYPE_INT, READY, "-1"},
    {"dtype", G_TYPE_ENUM, READY, "auto"},
    {"semantics", G_TYPE_ENUM, READY, "meta"},
    {"mode", G_TYPE_ENUM, READY, "auto"},
    {"prompt", G_TYPE_STRING, PLAYING, "\"Describe\\ the\\ scene\\ in\\ one\\ short\\ sentence.\""},
    {"prompts", 0, PLAYING, "<  >"},
    {"prompt-format", G_TYPE_ENUM, PLAYING, "auto"},
    {"interval", G_TYPE_UINT64, PLAYING, "1000000000"},
    {"max-interval", G_TYPE_UINT64, PLAYING, "18446744073709551615"},
    {"scene-threshold", G_TYPE_DOUBLE, PLAYING, "0"},
    {"max-image-tiles", G_TYPE_UINT, PLAYING, "0"},
    {"max-tokens", G_TYPE_UINT, PLAYING, "64"},
    {"temperature", G_TYPE_DOUBLE, PLAYING, "0"},
    {"top-k", G_TYPE_UINT, PLAYING, "0"},
    {"top-p", G_TYPE_DOUBLE, PLAYING, "1"},
    {"seed", G_TYPE_UINT64, PLAYING, "0"},
    {"repetition-penalty", G_TYPE_DOUBLE, PLAYING, "1"},
    {"text-timestamps", G_TYPE_ENUM, READY, "auto"},
    {"latency", G_TYPE_UINT64, PLAYING, "0"},
    {"eos-timeout", G_TYPE_UINT64, PLAYING, "10000000000"},
    {"idle-timeout", G_TYPE_UINT64, PLAYING, "18446744073709551615"},
    {"max-in-flight", G_TYPE_UINT, READY, "0"},
    {"partial-results", G_TYPE_BOOLEAN, PLAYING, "false"},
    {"post-messages", G_TYPE_BOOLEAN, PLAYING, "true"},
    {"attach-meta", G_TYPE_BOOLEAN, PLAYING, "true"},
    {"on-error", G_TYPE_ENUM, PLAYING, "auto"},
    {"stats", 0, READ_ONLY, NULL},
    {"last-caption", G_TYPE_STRING, READ_ONLY, NULL},
};

static GstElement *
make_element (void)
{
  return gst_object_ref_sink (gst_element_factory_make ("mllamacaption", "c"));
}

static void
each_property_has_its_type_flags_and_default (void)
{
  GstElement *element = make_element ();
  const gint mutables = GST_PARAM_MUTABLE_READY | GST_PARAM_MUTABLE_PAUSED | GST_PARAM_MUTABLE_PLAYING;

  for (guint i = 0; i < G_N_ELEMENTS (table); i++) {
    GParamSpec *spec = g_object_class_find_property (G_OBJECT_GET_CLASS (element), table[i].name);
    GValue value = G_VALUE_INIT;
    g_test_message ("%s", table[i].name);
    g_assert_nonnull (spec);
    if (table[i].type)
      g_assert_true (G_TYPE_FUNDAMENTAL (spec->value_type) == table[i].type);
    g_assert_cmpint ((gint) spec->flags & mutables, ==, table[i].changes);
    g_assert_cmpint ((spec->flags & G_PARAM_WRITABLE) != 0, ==, table[i].changes != READ_ONLY);
    g_assert_cmpint ((spec->flags & GST_PARAM_CONTROLLABLE) != 0, ==, strcmp (table[i].name, "scene-threshold") == 0);
    g_assert_cmpint (spec->flags & G_PARAM_STATIC_STRINGS, ==, G_PARAM_STATIC_STRINGS);
    g_value_init (&value, spec->value_type);
    g_object_get_property (G_OBJECT (element), table[i].name, &value);
    g_autofree char *initial = gst_value_serialize (&value);
    if (table[i].initial)
      g_assert_cmpstr (initial, ==, table[i].initial);
    g_value_unset (&value);
  }
  gst_object_unref (element);
}

static void
there_are_no_other_properties (void)
{
  GstElement *element = make_element ();
  guint n, n_own = 0;
  g_autofree GParamSpec **specs = g_object_class_list_properties (G_OBJECT_GET_CLASS (element), &n);

  for (guint i = 0; i < n; i++)
    n_own += specs[i]->owner_type == G_OBJECT_TYPE (element);
  g_assert_cmpuint (n_own, ==, G_N_ELEMENTS (table));
  gst_object_unref (element);
}

static void
each_property_keeps_what_it_is_given (void)
{
  static const char *const given[][2] = {{"model", "/m"},
                                         {"device", "cpu"},
                                         {"cuda-device-id", "3"},
                                         {"dtype", "bf16"},
                                         {"semantics", "transformers"},
                                         {"mode", "live"},
                                         {"prompt", "What"},
                                         {"prompt-format", "raw"},
                                         {"interval", "5"},
                                         {"max-interval", "6"},
                                         {"scene-threshold", "0.5"},
                                         {"max-image-tiles", "4"},
                                         {"max-tokens", "2048"},
                                         {"temperature", "0.5"},
                                         {"top-k", "7"},
                                         {"top-p", "0.25"},
                                         {"seed", "18446744073709551615"},
                                         {"repetition-penalty", "1.5"},
                                         {"text-timestamps", "arrival"},
                                         {"latency", "8"},
                                         {"eos-timeout", "9"},
                                         {"idle-timeout", "10"},
                                         {"max-in-flight", "32"},
                                         {"partial-results", "true"},
                                         {"post-messages", "false"},
                                         {"attach-meta", "false"},
                                         {"on-error", "stop"},
                                         {"prompts", "< (string)One, (string)Two >"}};
  GstElement *element = make_element ();

  for (guint i = 0; i < G_N_ELEMENTS (given); i++) {
    GValue value = G_VALUE_INIT;
    /* Parsing an array writes into the string. */
    g_autofree char *argument = g_strdup (given[i][1]);
    gst_util_set_object_arg (G_OBJECT (element), given[i][0], argument);
    g_value_init (&value, g_object_class_find_property (G_OBJECT_GET_CLASS (element), given[i][0])->value_type);
    g_object_get_property (G_OBJECT (element), given[i][0], &value);
    g_autofree char *kept = gst_value_serialize (&value);
    g_assert_cmpstr (kept, ==, given[i][1]);
    g_value_unset (&value);
  }
  gst_object_unref (element);
}

static void
ranges_are_those_of_the_table (void)
{
  GstElement *element = make_element ();
  GObjectClass *klass = G_OBJECT_GET_CLASS (element);
  GParamSpecUInt *tokens = G_PARAM_SPEC_UINT (g_object_class_find_property (klass, "max-tokens"));
  GParamSpecUInt *flight = G_PARAM_SPEC_UINT (g_object_class_find_property (klass, "max-in-flight"));
  GParamSpecDouble *scene = G_PARAM_SPEC_DOUBLE (g_object_class_find_property (klass, "scene-threshold"));
  GParamSpecUInt *tiles = G_PARAM_SPEC_UINT (g_object_class_find_property (klass, "max-image-tiles"));

  g_assert_cmpuint (tokens->minimum, ==, 1);
  g_assert_cmpuint (tokens->maximum, ==, 2048);
  g_assert_cmpuint (flight->maximum, ==, 32);
  g_assert_cmpfloat (scene->minimum, ==, 0);
  g_assert_cmpfloat (scene->maximum, ==, 1);
  g_assert_cmpuint (tiles->maximum, ==, 4);
  gst_object_unref (element);
}

static void
a_pad_can_be_set_up_before_it_exists (void)
{
  Rig *rig = rig_new ("videotestsrc ! mllamacaption name=c text_0::prompt=\"Is anyone there?\" text_0::hold=true "
                      "text_0::max-tokens=9 text_0::prompt-format=chat ! fakesink c.text_0 ! fakesink");
  g_autoptr (GstPad) pad = gst_element_get_static_pad (rig->element, "text_0");
  g_autofree char *prompt = NULL;
  guint max_tokens;
  gboolean hold;
  gint format;

  g_object_get (pad, "prompt", &prompt, "hold", &hold, "max-tokens", &max_tokens, "prompt-format", &format, NULL);
  g_assert_cmpstr (prompt, ==, "Is anyone there?");
  g_assert_true (hold);
  g_assert_cmpuint (max_tokens, ==, 9);
  g_assert_cmpint (format, ==, 1);
  rig_free (rig);
}

static void
note_child (GstChildProxy *proxy, GObject *child, char *name, gpointer data)
{
  g_ptr_array_add (data, g_strdup (name));
}

static void
pads_are_children_with_the_names_asked_for (void)
{
  GstElement *element = make_element ();
  g_autoptr (GPtrArray) added = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GPtrArray) removed = g_ptr_array_new_with_free_func (g_free);
  static const char *const wanted[] = {"text_5", "text_%u", "text_2", NULL};
  static const char *const names[] = {"text_5", "text_6", "text_2", "text_7"};
  GstPad *pads[4];

  g_signal_connect (element, "child-added", G_CALLBACK (note_child), added);
  g_signal_connect (element, "child-removed", G_CALLBACK (note_child), removed);
  GstPadTemplate *template = gst_element_get_pad_template (element, "text_%u");
  for (guint i = 0; i < 4; i++) {
    pads[i] = gst_element_request_pad (element, template, wanted[i], NULL);
    g_assert_cmpstr (GST_PAD_NAME (pads[i]), ==, names[i]);
    g_assert_cmpstr (g_ptr_array_index (added, i), ==, names[i]);
  }
  g_assert_cmpuint (gst_child_proxy_get_children_count (GST_CHILD_PROXY (element)), ==, 4);
  g_autoptr (GObject) first = gst_child_proxy_get_child_by_index (GST_CHILD_PROXY (element), 0);
  g_assert_cmpstr (GST_PAD_NAME (first), ==, "text_2");
  g_autoptr (GObject) named = gst_child_proxy_get_child_by_name (GST_CHILD_PROXY (element), "text_6");
  g_assert_true (named == G_OBJECT (pads[1]));
  for (guint i = 0; i < 4; i++) {
    gst_element_release_request_pad (element, pads[i]);
    gst_object_unref (pads[i]);
  }
  g_assert_cmpuint (removed->len, ==, 4);
  g_assert_cmpuint (gst_child_proxy_get_children_count (GST_CHILD_PROXY (element)), ==, 0);
  gst_object_unref (element);
}

static void
the_text_template_carries_the_type_of_its_pads (void)
{
  GstElement *element = make_element ();
  GstPadTemplate *template = gst_element_get_pad_template (element, "text_%u");
  g_autoptr (GstCaps) caps = gst_pad_template_get_caps (template);
  g_autofree char *string = gst_caps_to_string (caps);
  const gchar *klass = gst_element_get_metadata (element, GST_ELEMENT_METADATA_KLASS);

  g_assert_cmpstr (g_type_name (GST_PAD_TEMPLATE_GTYPE (template)), ==, "GstMllamaCaptionPad");
  g_assert_cmpstr (string, ==, "text/x-raw, format=(string){ utf8, pango-markup }; application/x-json");
  g_assert_cmpstr (klass, ==, "Filter/Analyzer/Video");
  gst_object_unref (element);
}

static void
internal_links_are_sink_and_src_only (void)
{
  GstElement *element = make_element ();
  GstPad *text = gst_element_request_pad_simple (element, "text_%u");
  g_autoptr (GstPad) sink = gst_element_get_static_pad (element, "sink");
  g_autoptr (GstPad) src = gst_element_get_static_pad (element, "src");
  GstPad *const pads[] = {sink, src, text}, *const links[] = {src, sink, NULL};

  for (guint i = 0; i < 3; i++) {
    GstIterator *iterator = gst_pad_iterate_internal_links (pads[i]);
    GValue item = G_VALUE_INIT;
    GstIteratorResult result = gst_iterator_next (iterator, &item);
    g_assert_cmpint (result, ==, links[i] ? GST_ITERATOR_OK : GST_ITERATOR_DONE);
    if (links[i]) {
      g_assert_true (g_value_get_object (&item) == links[i]);
      g_value_unset (&item);
      g_assert_cmpint (gst_iterator_next (iterator, &item), ==, GST_ITERATOR_DONE);
    }
    gst_iterator_free (iterator);
  }
  gst_element_release_request_pad (element, text);
  gst_object_unref (text);
  gst_object_unref (element);
}

static void
add_tests (void)
{
  g_test_add_func ("/properties/each_property_has_its_type_flags_and_default",
                   each_property_has_its_type_flags_and_default);
  g_test_add_func ("/properties/there_are_no_other_properties", there_are_no_other_properties);
  g_test_add_func ("/properties/each_property_keeps_what_it_is_given", each_property_keeps_what_it_is_given);
  g_test_add_func ("/properties/ranges_are_those_of_the_table", ranges_are_those_of_the_table);
  g_test_add_func ("/pads/a_pad_can_be_set_up_before_it_exists", a_pad_can_be_set_up_before_it_exists);
  g_test_add_func ("/pads/pads_are_children_with_the_names_asked_for", pads_are_children_with_the_names_asked_for);
  g_test_add_func ("/pads/the_text_template_carries_the_type_of_its_pads",
                   the_text_template_carries_the_type_of_its_pads);
  g_test_add_func ("/pads/internal_links_are_sink_and_src_only", internal_links_are_sink_and_src_only);
}

int
main (int argc, char **argv)
{
  return rig_main (argc, argv, add_tests);
}
