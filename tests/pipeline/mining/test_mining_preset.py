"""Presets: what they may say, what it means, and what they may not do."""

import os
from pathlib import Path

import pytest

from pipeline.errors import InputError, MissingPathError
from pipeline.mining.encoders import ALIASES, REGISTERED, make_encoder
from pipeline.mining.preset import EncoderChoice, read_preset

ROOT = Path(__file__).parents[3]
# The example of stopes' documentation of speech mining, word for word.
STOPES_EXAMPLE = """
lang_configs:
  frA:
    data:
      data_version: 23H1RCLSP
      iteration: 1
      data_shard_dir: /path/tothe/rawaudio/dataset
      shard_type: speech
      bname: speech
      shard_list: null
      shard_glob: ${.data_shard_dir}/speech/*.ogg
      nl_file_template: "{lang}.nl"

    embed_text:
      preprocess: null
      encoder:
        _target_: stopes.modules.preprocess.mining_speech_encoder.Sonar2MiningSpeechEncoder
        encoder_model: NAME_OF_SONAR_ENCODER_MODEL
        _name: sonar2_speech_encoder
        spm_model: null # unused
        spm_vocab: null # unused
        mini_batch_size: null
        fp16: true
        gpu: true
        num_processes: 4
  fr:
    data:
      data_version: 23H1RCL
      iteration: 1
      data_shard_dir: /path/tothe/rawtext/dataset
      shard_type: text
      bname: text
      shard_list: null
      shard_glob: ${.data_shard_dir}/text/text.txt
      meta_glob: ${.data_shard_dir}/text/meta.txt
      nl_file_template: "{lang}.nl"

    embed_text:
      encoder:
        _target_: stopes.modules.preprocess.sonar_sentence_encoder.SonarTextEncoder
        _name: NAME_OF_SONAR_ENCODER_MODEL
        spm_model: null # unused
        spm_vocab: null # unused
"""
SIDE = "{data: {shard_glob: x.txt}, embed_text: {encoder: {_target_: pipeline.mining.Dual}}}"


@pytest.fixture
def preset(tmp_path):
    """Write a preset, and read it with overrides."""

    def read(text: str, *overrides: str):
        path = tmp_path / "preset.yaml"
        path.write_text(text, encoding="utf-8")
        return read_preset(path, overrides)

    return read


def test_the_example_of_stopes_is_read_word_for_word(preset):
    plan = preset(STOPES_EXAMPLE, "output_dir=out")

    assert (plan.source.name, plan.target.name) == ("frA", "fr")
    assert plan.source.data.shard_glob == "/path/tothe/rawaudio/dataset/speech/*.ogg"
    assert plan.target.data.meta_glob == "/path/tothe/rawtext/dataset/text/meta.txt"
    assert plan.target.data.nl_file_template == "fr.nl"
    assert plan.source.data.data_version == "23H1RCLSP"
    assert plan.source.encoder.target.endswith("Sonar2MiningSpeechEncoder")
    assert plan.source.encoder.model == "NAME_OF_SONAR_ENCODER_MODEL"
    assert plan.target.encoder.model == "NAME_OF_SONAR_ENCODER_MODEL"
    rule = plan.rule
    assert (rule.margin, rule.mine_type, rule.threshold) == ("ratio", "union", 1.06)
    assert (rule.score_max, rule.k_extract, rule.by_margin, plan.knn) == (None, 1, False, 16)


def test_the_shipped_preset_says_the_same_but_for_the_encoders(preset):
    shipped = read_preset(ROOT / "conf" / "mining" / "speech-text.yaml")

    assert [side.encoder.target for side in (shipped.source, shipped.target)] == [
        "pipeline.mining.DualSpeechEncoder",
        "pipeline.mining.DualTextEncoder",
    ]
    assert shipped.rule == preset(STOPES_EXAMPLE, "output_dir=x").rule


def test_stopes_names_lead_to_our_encoders(preset):
    plan = preset(STOPES_EXAMPLE, "output_dir=out")

    assert set(ALIASES.values()) <= set(REGISTERED)
    for side in (plan.source, plan.target):
        with pytest.raises(InputError, match="SONAR is not installed; .*pip install sonar-space"):
            make_encoder(side.encoder)


def test_overrides_replace_values(preset):
    plan = preset(
        STOPES_EXAMPLE,
        *("output_dir=out", "mine_threshold=1.2", "src_lang=fr", "tgt_lang=frA"),
        *(
            "calculate_distances.knn=4",
            "mine_indexes.margin_type=distance",
            "index_type=IVF64,Flat",
        ),
        *("lang_configs.fr.data.data_shard_dir=elsewhere", "mine_sentences.score_max=1.25"),
        "+lang_configs.fr.data.segment_unit=s",
    )

    assert (plan.source.name, plan.target.name) == ("fr", "frA")
    assert plan.source.data.shard_glob == "elsewhere/text/text.txt"
    assert plan.source.data.segment_unit == "s"
    assert (plan.rule.threshold, plan.rule.score_max, plan.rule.margin) == (1.2, 1.25, "distance")
    assert (plan.knn, plan.index_type) == (4, "IVF64,Flat")


def test_sections_may_have_the_level_config(preset):
    plan = preset(
        "output_dir: out\n"
        "mine_indexes: {_target_: x, config: {mine_type: forward, k_extract: 3}}\n"
        f"lang_configs: {{a: {SIDE}, b: {SIDE}}}"
    )

    assert (plan.rule.mine_type, plan.rule.k_extract) == ("forward", 3)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has no lang_configs"),
        ("- 1", "must hold keys"),
        ("a: [", "no preset in YAML"),
        ("a: !!python/object/apply:os.system [touch PWNED]", "no preset in YAML"),
        ("lang_config: {}", "lang_config is no known key; is lang_configs meant"),
        (f"lang_configs: {{a: {SIDE}}}", "src_lang is None; name one of lang_configs: a"),
        (f"lang_configs: {{a: {SIDE}, b: {SIDE}}}", "names no output_dir"),
        (f"output_dir: o\nlang_configs: {{a: {SIDE}, b: {{data: {{}}}}}}", "b names no encoder"),
        (f"output_dir: o\nlang_configs: {{a: {SIDE}, ../b: {SIDE}}}", "cannot be the name of a"),
        (f"output_dir: o\nsrc_lang: a\ntgt_lang: a\nlang_configs: {{a: {SIDE}}}", "both 'a'"),
        ("output_dir: ${oc.env:HOME}", "calls a resolver"),
        ("output_dir: ${${x}:HOME}\nx: oc.env", "calls a resolver"),
        ("output_dir: ${oc.decode:${oc.env:HOME}}", "calls a resolver"),
        ("output_dir: ${nowhere}", "reference cannot be resolved"),
        ("output_dir: ${output_dir}", "reference cannot be resolved"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(preset, text, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(InputError, match=says) as refused:
        preset(text)
    assert "\n" not in str(refused.value)
    assert os.listdir(tmp_path) == ["preset.yaml"]


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("mine_threshold", "is no override"),
        ("mine_threshold=1,2", "is '1,2'; give a number"),
        ("mine_threshold=choice(1,2)", "asks for several runs"),
        ("mine_threshold=much", "mine_indexes.mine_threshold is 'much'"),
        ("mine_threshold=nan", "give a number"),
        ("output_dir=${oc.env:HOME}", "calls a resolver"),
        ("mine_indexes.mine_type=both", "'both' is not one of: union, intersection"),
        ("mine_indexes.margin_type=best", "'best' is not one of: ratio"),
        ("mine_indexes.margin_norm=last", "'last' is not known here"),
        ("calculate_distances.knn=0", "knn is 0"),
        ("calculate_distances.nn=3", "nn is no known key; is knn meant"),
        ("lang_configs.a.data.shard_globe=x", "is shard_glob meant"),
        ("lang_configs.a.data.segment_unit=min", "'min' is not one of: samples16k"),
    ],
)
def test_a_wrong_override_is_said_in_one_sentence(preset, override, says):
    text = f"output_dir: o\nlang_configs: {{a: {SIDE}, b: {SIDE}}}"

    assert preset(text).knn == 16
    with pytest.raises(InputError, match=says) as refused:
        preset(text, override)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("target", ["os.system", "builtins.exec", "subprocess.run", "pipeline.cli"])
def test_only_registered_encoders_can_be_named(target):
    with pytest.raises(InputError, match="is no registered encoder"):
        make_encoder(EncoderChoice(target, "touch PWNED"))


def test_a_slip_in_an_encoders_name_is_met_with_the_name():
    with pytest.raises(InputError, match="name 'pipeline.mining.DualTextEncoder', or another"):
        make_encoder(EncoderChoice("pipeline.mining.DualTxtEncoder", None))


def test_an_encoder_needs_its_checkpoint(tmp_path):
    for name in ("DualSpeechEncoder", "PooledSpeechEncoder", "SentenceEncoder"):
        target = f"pipeline.mining.{name}"
        with pytest.raises(InputError, match="needs encoder_model"):
            make_encoder(EncoderChoice(target, None))
        with pytest.raises(MissingPathError):
            make_encoder(EncoderChoice(target, str(tmp_path / "nowhere")))
    with pytest.raises(InputError, match="holds a model of type 'wav2vec2', no speech-text"):
        make_encoder(
            EncoderChoice("pipeline.mining.DualTextEncoder", str(ROOT / "models/mini-wav2vec2"))
        )


def test_a_missing_preset_is_named(tmp_path):
    with pytest.raises(MissingPathError, match="nothing.yaml does not exist"):
        read_preset(tmp_path / "nothing.yaml")
