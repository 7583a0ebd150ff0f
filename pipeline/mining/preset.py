"""Presets: what to mine, in the YAML of stopes' global mining pipeline.

``lang_configs`` says of each side where its shards are and what embeds them; the other sections
say how to search and what to keep. Values may refer to others (``${.data_shard_dir}/text.txt``),
and the command line may replace them (``mine_threshold=1.1``, in hydra's grammar). A preset may
come from a stranger: nothing in it is imported or called, encoders are looked up by name
(:mod:`pipeline.mining.encoders`), and only plain references are resolved, so none can read the
environment.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.errors import InputError, MissingPathError
from pipeline.mining.keys import DATA_KEYS, DEFAULTS, LARGEST_PRESET, UNITS, WITHOUT_EFFECT
from pipeline.mining.margin import MARGINS, MINE_TYPES, MarginRule


@dataclass(frozen=True)
class EncoderChoice:
    """Which encoder embeds a side.

    Attributes
    ----------
    target : str
        Its registered name, or stopes' name for it.
    model : str or None
        A checkpoint folder, or the name of a model card.
    mini_batch_size : int or None
    gpu : bool
    settings : dict
        All other keys.
    """

    target: str
    model: str | None
    mini_batch_size: int | None = None
    gpu: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DataChoice:
    """Where the shards of a side are; see docs/mining.md for the keys."""

    data_version: str = "V1"
    iteration: int = 1
    data_shard_dir: str | None = None
    shard_type: str = "text"
    bname: str | None = None
    shard_list: str | None = None
    shard_glob: str | None = None
    meta_glob: str | None = None
    nl_file_template: str | None = None
    corpus: str | None = None
    splits: tuple[str, ...] | None = None
    column: str = "sentence"
    segment_unit: str = "samples16k"


@dataclass(frozen=True)
class Side:
    """One of the two sides that are mined against each other."""

    name: str
    data: DataChoice
    encoder: EncoderChoice


@dataclass(frozen=True)
class MiningPlan:
    """A preset, resolved and checked.

    Attributes
    ----------
    source, target : Side
    output : Path
    index_type : str or None
        "Flat" for exact search, another of faiss's types, or None to choose by size.
    sample_size : int
        Rows that an index is trained on at most.
    knn : int
        Neighbours on either side.
    num_probe : int or None
        Cells of an inverted file that are searched; None for as many as the recall takes.
    recall_wanted : float
    half_distances : bool
        Keep distances in float16, as stopes does.
    rule : MarginRule
    deduplicate : bool
        Write of equal pairs of lines only the best.
    compress : bool
    """

    source: Side
    target: Side
    output: Path
    index_type: str | None
    sample_size: int
    knn: int
    num_probe: int | None
    recall_wanted: float
    half_distances: bool
    rule: MarginRule
    deduplicate: bool
    compress: bool


def read_preset(path: Path, overrides: Sequence[str] = ()) -> MiningPlan:
    """Read a preset, apply overrides, resolve references, check everything.

    Raises
    ------
    MissingPathError, InputError
        With the file, the key and what may stand there.
    """
    written = _load(path)
    merged = OmegaConf.merge(DEFAULTS, _without_config_level(written))
    for key, value, is_delete in _parse(overrides):
        _refuse_resolvers(value, key)
        if is_delete:
            OmegaConf.update(merged, key, None)
        else:
            OmegaConf.update(merged, key, value, merge=True, force_add=True)
    try:
        plain = OmegaConf.to_container(merged, resolve=True)
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: a reference cannot be resolved ({reason})") from error
    assert isinstance(plain, dict)
    return _plan(path, {str(key): value for key, value in plain.items()})


def _load(path: Path) -> DictConfig:
    if not path.is_file():
        raise MissingPathError(
            f"{path} does not exist; give a preset such as conf/mining/demo.yaml"
        )
    if path.stat().st_size > LARGEST_PRESET:
        raise InputError(f"{path} is larger than a preset can be ({LARGEST_PRESET:,} bytes)")
    try:
        # omegaconf's loader is a safe one: it knows no tags that make objects.
        written = OmegaConf.load(path)
    except Exception as error:  # of yaml, of omegaconf, of the file system
        reason = " ".join(str(error).split())
        raise InputError(f"{path} is no preset in YAML ({reason[:200]})") from error
    if not isinstance(written, DictConfig):
        raise InputError(f"{path} is no preset: it must hold keys such as lang_configs")
    _refuse_resolvers(OmegaConf.to_container(written, resolve=False), str(path))
    return written


def _without_config_level(written: DictConfig) -> DictConfig:
    """Take the level ``config`` out of sections that have it, as stopes' own files do."""
    for key in written:
        section = written._get_node(key)
        if isinstance(section, DictConfig) and "config" in section and key in DEFAULTS:
            config = section._get_node("config")
            if isinstance(config, DictConfig):
                merged = OmegaConf.merge(
                    {k: v for k, v in section.items() if k != "config"}, config
                )
                written[key] = merged
    return written


def _parse(overrides: Sequence[str]) -> Iterator[tuple[str, Any, bool]]:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser = OverridesParser.create()
    for text in overrides:
        try:
            override = parser.parse_override(text)
        except HydraException as error:
            raise InputError(
                f"{text!r} is no override; write key=value, such as mine_threshold=1.1"
            ) from error
        value = override.value()
        if override.is_choice_sweep() and getattr(value, "simple_form", False):
            value = text.partition("=")[2]  # a type of index, such as IVF1024,Flat
        elif override.is_sweep_override():
            raise InputError(f"{text!r} asks for several runs; give one value")
        yield override.key_or_group, value, override.is_delete()


def _refuse_resolvers(value: Any, where: str) -> None:
    """Let only plain references pass: ``${key}`` and ``${.key}``, no ``${oc.env:HOME}``."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _refuse_resolvers(key, where)
            _refuse_resolvers(inner, where)
    elif isinstance(value, list | tuple):
        for inner in value:
            _refuse_resolvers(inner, where)
    elif isinstance(value, str) and "${" in value:
        depth = 0
        for position, symbol in enumerate(value):
            depth += value[position : position + 2] == "${"
            depth -= symbol == "}" and depth > 0
            if symbol == ":" and depth:
                raise InputError(
                    f"{where}: {value[:80]!r} calls a resolver; only references to other keys are "
                    "allowed, such as ${.data_shard_dir}"
                )


def _plan(path: Path, plain: dict[str, Any]) -> MiningPlan:
    _check_keys(path, "", plain, DEFAULTS)
    distances, indexes, sentences = (
        _section(path, plain, name)
        for name in ("calculate_distances", "mine_indexes", "mine_sentences")
    )
    languages = plain["lang_configs"]
    if not isinstance(languages, dict) or not languages:
        raise InputError(f"{path} has no lang_configs; name two sides there, see docs/mining.md")
    source, target = _names(path, plain, tuple(map(str, languages)))
    if not plain["output_dir"]:
        raise InputError(f"{path} names no output_dir; add output_dir=FOLDER to the command")
    threshold = max(
        _number(path, "mine_indexes.mine_threshold", indexes["mine_threshold"]),
        _number(path, "mine_sentences.mine_threshold", sentences["mine_threshold"]),
    )
    if indexes["margin_norm"] != "mean":
        raise InputError(
            f"{path}: margin_norm {indexes['margin_norm']!r} is not known here; write mean"
        )
    highest = sentences["score_max"]
    return MiningPlan(
        _side(path, plain, source),
        _side(path, plain, target),
        Path(str(plain["output_dir"])),
        plain["index_type"] and str(plain["index_type"]),
        _count(path, "embedding_sample.sample_sz", plain["embedding_sample"]["sample_sz"]),
        _count(path, "calculate_distances.knn", distances["knn"]),
        distances["num_probe"] and _count(path, "num_probe", distances["num_probe"]),
        _number(path, "calculate_distances.recall_wanted", distances["recall_wanted"]),
        bool(distances["save_dists_as_fp16"]),
        MarginRule(
            _choice(path, "margin_type", indexes["margin_type"], MARGINS),
            _choice(path, "mine_type", indexes["mine_type"], MINE_TYPES),
            threshold,
            None if highest is None else _number(path, "mine_sentences.score_max", highest),
            _count(path, "mine_indexes.k_extract", indexes["k_extract"]),
            bool(indexes["sort_neighbors"]),
        ),
        bool(sentences["dedup_bitexts"]),
        bool(sentences["compress_output"]),
    )


def _names(path: Path, plain: dict[str, Any], languages: tuple[str, ...]) -> tuple[str, str]:
    """Which sides are mined: those named, or the only two there are."""
    chosen = (plain["src_lang"], plain["tgt_lang"])
    if chosen == (None, None) and len(languages) == 2:
        return languages[0], languages[1]
    for key, name in zip(("src_lang", "tgt_lang"), chosen, strict=True):
        if name not in languages:
            raise InputError(
                f"{path}: {key} is {name!r}; name one of lang_configs: {', '.join(languages)}"
            )
    if chosen[0] == chosen[1]:
        raise InputError(f"{path}: src_lang and tgt_lang are both {chosen[0]!r}; name two sides")
    return str(chosen[0]), str(chosen[1])


def _side(path: Path, plain: dict[str, Any], name: str) -> Side:
    if "/" in name or not name.isprintable() or name.startswith("."):
        raise InputError(f"{path}: {name!r} cannot be the name of a side; use letters and digits")
    where = f"lang_configs.{name}"
    config = plain["lang_configs"][name]
    if not isinstance(config, dict):
        raise InputError(f"{path}: {where} holds no keys; give it data and embed_text")
    _check_keys(path, where, config, {"data": 0, "embed_text": 0, "embed_speech": 0})
    data = {**(plain["data"] or {}), **(config.get("data") or {})}
    _check_keys(path, f"{where}.data", data, dict.fromkeys(DATA_KEYS))
    return Side(name, _data(path, where, name, data), _encoder(path, where, config, plain))


def _data(path: Path, where: str, name: str, data: dict[str, Any]) -> DataChoice:
    values = {key: value for key, value in data.items() if value is not None}
    unit = values.get("segment_unit", "samples16k")
    _choice(path, f"{where}.data.segment_unit", unit, UNITS)
    splits = values.pop("splits", None)
    if splits is not None:
        values["splits"] = (
            tuple(str(splits).replace(",", " ").split())
            if isinstance(splits, str)
            else tuple(map(str, splits))
        )
    kinds = {one.name: one.type for one in fields(DataChoice)}
    for key, value in values.items():
        if isinstance(value, dict | list):
            raise InputError(f"{path}: {where}.data.{key} holds {value!r}; one value is expected")
        if kinds[key] in (str, "str", str | None):
            # Of stopes' templates only this placeholder is meant for us.
            values[key] = str(value).replace("{lang}", name)
    return DataChoice(**values)


def _encoder(
    path: Path, where: str, config: dict[str, Any], plain: dict[str, Any]
) -> EncoderChoice:
    # Speech wins where both are there, as in stopes.
    own = config.get("embed_speech") or config.get("embed_text")
    section = own or plain["embed_speech"] or plain["embed_text"]
    encoder = section.get("encoder") if isinstance(section, dict) else None
    if not isinstance(encoder, dict) or not encoder.get("_target_"):
        raise InputError(
            f"{path}: {where} names no encoder; give embed_text.encoder._target_, "
            "see docs/mining.md for the registered ones"
        )
    known = ("_target_", "encoder_model", "_name", "mini_batch_size", "gpu")
    batch = encoder.get("mini_batch_size")
    model = encoder.get("encoder_model") or encoder.get("_name")
    return EncoderChoice(
        str(encoder["_target_"]),
        None if model is None else str(model),
        None if batch is None else _count(path, f"{where} mini_batch_size", batch),
        bool(encoder.get("gpu")),
        {key: value for key, value in encoder.items() if key not in known},
    )


def _section(path: Path, plain: dict[str, Any], name: str) -> dict[str, Any]:
    section = plain[name]
    if not isinstance(section, dict):
        raise InputError(f"{path}: {name} holds {section!r}; it must hold keys")
    _check_keys(path, name, section, DEFAULTS[name])
    return section


def _check_keys(path: Path, where: str, given: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Refuse a key that means nothing: it is more likely a slip than an ornament."""
    for key in map(str, given):
        if key in known or (key in WITHOUT_EFFECT and not where.endswith(".data")):
            continue
        close = get_close_matches(key, list(known), 1)
        hint = f"; is {close[0]} meant?" if close else f"; known are: {', '.join(known)}"
        raise InputError(f"{path}: {f'{where}.' if where else ''}{key} is no known key{hint}")


def _choice(path: Path, key: str, value: Any, allowed: Sequence[Any]) -> Any:
    if value not in allowed:
        raise InputError(f"{path}: {key} {value!r} is not one of: {', '.join(allowed)}")
    return value


def _count(path: Path, key: str, value: Any) -> int:
    if type(value) is not int or value < 1:
        raise InputError(f"{path}: {key} is {value!r}; give a number from 1")
    return value


def _number(path: Path, key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise InputError(f"{path}: {key} is {value!r}; give a number")
    return float(value)
