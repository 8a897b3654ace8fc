"""The help pages and the Chinese labels say what the nodes have: no less, no more, with the right types and ranges."""

from __future__ import annotations

import functools
import json
import operator
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from devtools.client import fetch
from tests.host.live import DYNAMIC_COMBO, ROOT, Client, Json, Slot, slots_of
from tests.host.recipes import NODES

MESSAGE_SYNTAX = re.compile(r"[{}@|]")  # the page's translator takes these for placeholders, links and plurals
NAMES = ("sampler_name", "scheduler", "codec", "face.pack")  # combos whose values are names in every language
PANEL_LETTERS = 36  # of the longest words of a table's columns together, so that it fits into the panel of the help
TABLE = re.compile(r"(?:^\|.*\n)+", re.MULTILINE)
WORD_ENDS = re.compile(r"\s+|<br>|<wbr>|-|[\u2e80-\uffff]")


@dataclass(frozen=True, slots=True)
class Words:
    """The fixed words of a help page in one language."""

    inputs: str
    outputs: str
    optional: str
    colon: str
    number: str  # least and greatest value and the default of a number
    default: str


LANGUAGES = {
    "en": Words("Inputs", "Outputs", ", optional", ": ", "{} to {} (default {})", "default"),
    "zh": Words(
        "\u8f93\u5165",
        "\u8f93\u51fa",
        "\uff0c\u53ef\u9009",
        "\uff1a",
        "{} \u81f3 {}\uff08\u9ed8\u8ba4 {}\uff09",
        "\u9ed8\u8ba4",
    ),
}


# What a page must say: each row of a table is a list of patterns, one for each cell


def input_row(slot: Slot, label: str, words: Words) -> list[str]:
    """The input; what it means, and below its type, when it is read, and its range."""
    kind = "COMBO" if slot.kind == DYNAMIC_COMBO else r"\b.*\b".join(slot.kind.split(","))
    when = "[^:\uff1a]*".join(["", *(f"`{word}`" for word in slot.choice), ""]) if slot.choice else ""
    optional = "" if slot.required or slot.choice else words.optional
    span = range_pattern(slot, words)
    how = f"{words.colon}{span}" if span != ".*" else f"({words.colon}.+)?"
    return [re.escape(f"`{slot.name}`{label}"), rf".+<br>{kind}{optional}{when}{how}"]


def range_pattern(slot: Slot, words: Words) -> str:
    """The ends and the default of a number, every choice of a DynamicCombo, the default of a choice or a text."""
    if slot.kind in ("INT", "FLOAT"):
        numbers = (slot.about[key] for key in ("min", "max", "default"))
        return re.escape(words.number.format(*(str(n) if isinstance(n, int) else f"{n:g}" for n in numbers)))
    choices = [option["key"] for option in slot.about["options"]] if slot.kind == DYNAMIC_COMBO else []
    default = choices[0] if choices else slot.about.get("default") if slot.kind in ("COMBO", "STRING") else None
    marked = re.escape(f"`{default}`")
    says_default = rf"(?=.*({marked} ?[(\uff08]{words.default}|{words.default} {marked}))" if default else ""
    return says_default + "".join(rf"(?=.*`{re.escape(choice)}`)" for choice in choices) + ".*"


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def wide_tables(page: str) -> Iterator[str]:
    """The tables of a page that the panel of the help could only show a part of."""
    for table in TABLE.findall(page):
        columns = zip(*(cells_of(line) for line in table.splitlines()), strict=False)
        words = [max(WORD_ENDS.split(re.sub(r"`|</?code>", "", " ".join(column))), key=len) for column in columns]
        if len("".join(words)) > PANEL_LETTERS:
            yield f"a table is too wide for the panel: {words}"


def first_table(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table under a heading, without the table's own head."""
    section = re.search(rf"^## {heading}$(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    table = TABLE.search(section[1]) if section else None
    return [cells_of(line) for line in table[0].splitlines()[2:]] if table else []


def page_complaints(info: Json, page: str, words: Words, entry: Json | None) -> Iterator[str]:
    """What is wrong with a help page; a translated one shows the labels of the locale file ``entry`` beside the ids."""
    title = (entry or info)["display_name"]
    if not page.startswith(f"# {title}\n"):
        yield f"the title is not {title!r}"

    def label(group: str, key: str) -> str:
        return " " + entry[group].get(key, {}).get("name", "?") if entry else ""

    inputs = [input_row(slot, label("inputs", slot.key), words) for slot in slots_of(info["input"])]
    outputs = [
        [re.escape(f"`{name}`{label('outputs', str(i))}"), f".+<br>{kind}"]
        for i, (name, kind) in enumerate(zip(info["output_name"], info["output"], strict=True))
    ]
    yield from wide_tables(page)
    page = re.sub("</?code>", "`", page.replace("<wbr>", ""))
    for heading, wanted in ((words.inputs, inputs), (words.outputs, outputs)):
        rows = first_table(page, heading)
        if len(rows) != len(wanted):
            yield f"{heading}: {len(rows)} rows instead of {len(wanted)}"
        for row, patterns in zip(rows, wanted, strict=False):
            if len(row) != len(patterns) or not all(map(re.fullmatch, patterns, row)):
                yield f"{heading}: {row} is not {patterns}"


# What the locale files must say


def texts_of(tree: Any, *path: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every text in a tree of JSON objects with its path."""
    if isinstance(tree, dict):
        for key, part in tree.items():
            yield from texts_of(part, *path, key)
    elif tree:
        yield path, tree


def text_complaints(tree: Json, wanted: set[tuple[str, ...]]) -> list[str]:
    """What a tree of JSON objects lacks or has too much, and texts that the translator would not take for texts."""
    texts = dict(texts_of(tree))
    places = [f"{'has no' if path in wanted else 'should have no'} {path}" for path in sorted(texts.keys() ^ wanted)]
    return places + [f"{text!r} holds syntax" for text in texts.values() if MESSAGE_SYNTAX.search(text)]


def label_complaints(info: Json, entry: Json) -> list[str]:
    """What is wrong with the labels of one node."""
    slots = list(slots_of(info["input"]))
    parts = [("inputs", slot.key) for slot in slots]
    parts += [("outputs", str(index)) for index in range(len(info["output"]))]
    labels = {(*part, kind) for part in parts for kind in ("name", "tooltip")}
    values = {("inputs", slot.key, "options", value) for slot in slots for value in word_values(slot)}
    return text_complaints(entry, {("display_name",), ("description",), *labels, *values})


def word_values(slot: Slot) -> list[str]:
    """The values of a combo that are words: no file, and no name of a solver, a schedule or a codec."""
    if slot.kind not in ("COMBO", DYNAMIC_COMBO) or slot.name in NAMES:
        return []
    values = [option["key"] if slot.kind == DYNAMIC_COMBO else option for option in slot.about["options"]]
    return [value for value in values if "." not in value]


def setting_complaints(script: str, words: Json) -> list[str]:
    """What is wrong with the words for the settings that the page's script adds."""
    names = re.findall(r'id: "WanCast\.(\w+)"', script)
    return text_complaints(words, {(f"WanCast_{name}", kind) for name in names for kind in ("name", "tooltip")})


def word_complaints(infos: Iterable[Json], words: Json) -> list[str]:
    """What is wrong with the words for categories and for sockets of our own."""
    infos = list(infos)
    categories = {("nodeCategories", part) for info in infos for part in info["category"].split("/")}
    kinds = {slot.kind for info in infos for slot in slots_of(info["input"])} | {k for i in infos for k in i["output"]}
    return text_complaints(words, categories | {("dataTypes", kind) for kind in kinds if kind.startswith("WAN_")})


# What we wrote


def page_of(node: str, language: str) -> str:
    return (ROOT / "web" / "docs" / node / f"{language}.md").read_text(encoding="utf-8")


def locale_file(name: str) -> Json:
    return json.loads((ROOT / "locales" / "zh" / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("node", NODES)
def test_the_help_page_tells_what_the_node_has_and_is_where_the_editor_looks_for_it(
    client: Client, object_info: Json, node: str, language: str
) -> None:
    entry = None if language == "en" else locale_file("nodeDefs")[node]
    page = page_of(node, language)
    assert list(page_complaints(object_info[node], page, LANGUAGES[language], entry)) == []
    assert fetch(f"{client.url}/extensions/WanCast/docs/{node}/{language}.md").decode("utf-8") == page


@pytest.mark.parametrize("node", NODES)
def test_the_chinese_labels_tell_what_the_node_has(object_info: Json, node: str) -> None:
    assert label_complaints(object_info[node], locale_file("nodeDefs")[node]) == []


def test_categories_and_sockets_have_chinese_words(object_info: Json) -> None:
    words = {group: locale_file("main")[group] for group in ("nodeCategories", "dataTypes")}
    assert word_complaints((object_info[node] for node in NODES), words) == []


def test_settings_have_chinese_words() -> None:
    script = (ROOT / "web" / "main.js").read_text(encoding="utf-8")
    words = locale_file("settings")
    assert words and setting_complaints(script, words) == []
    assert setting_complaints(script, {}) and setting_complaints("", words)


def test_no_page_and_no_label_is_left_of_a_node_that_is_gone() -> None:
    pages = {path.relative_to(ROOT / "web" / "docs").as_posix() for path in (ROOT / "web" / "docs").rglob("*.md")}
    assert pages == {f"{node}/{language}.md" for node in NODES for language in LANGUAGES}
    assert set(locale_file("nodeDefs")) == set(NODES)


def test_the_host_hands_the_chinese_words_to_the_editor(client: Client) -> None:
    chinese = client.get("/i18n")["zh"]
    files = {name: locale_file(name) for name in ("nodeDefs", "settings")}
    for group, words in {**files, **locale_file("main")}.items():
        assert {word: chinese[group].get(word) for word in words} == words


# Each comparison can fail


@pytest.mark.parametrize(
    ("node", "good", "bad"),
    [
        ("WanCastDecodeToVideo", "# WanCast Decode To Video", "# Another"),
        ("WanCastDecodeToVideo", "| `tiling.rows` |", "| `rows` |"),
        ("WanCastDecodeToVideo", "Tiles one below the other.<br>", ""),
        ("WanCastDecodeToVideo", ", if `tiling` is `tiles`: 1 to 8 (default 1)", ": 1 to 8 (default 1)"),
        ("WanCastDecodeToVideo", "0.001 to 240 (default 16)", "0.001 to 24 (default 16)"),
        ("WanCastDecodeToVideo", "`software` (default), `hardware`", "`software`, `hardware` (default)"),
        ("WanCastDecodeToVideo", "`auto` (default), `whole frame`, `tiles`", "`auto` (default), `tiles`"),
        ("WanCastDecodeToVideo", "<br>AUDIO, optional", "<br>AUDIO"),
        ("WanCastDecodeToVideo", "The last frames, in order.<br>IMAGE", "The last frames, in order.<br>VIDEO"),
        ("WanCastDecodeToVideo", "| `last_frames` | The last frames, in order.<br>IMAGE |\n", ""),
        ("WanCastDecodeToVideo", "| Output | Meaning |", "| Output | A_MEANING_THAT_GOES_ON_AND_ON_AND_ON |"),
        ("WanCastDecodeToVideo", "## Outputs", "## Results"),
        ("LipSyncCheck", "IMAGE or VIDEO", "IMAGE"),
    ],
)
def test_a_wrong_page_is_seen(object_info: Json, node: str, good: str, bad: str) -> None:
    page = page_of(node, "en")
    assert page.count(good) == 1
    assert list(page_complaints(object_info[node], page.replace(good, bad), LANGUAGES["en"], None))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (["description"], ""),
        (["description"], "a | b"),
        (["inputs", "switch.sigma"], {"name": "N", "tooltip": "T"}),
        (["inputs", "switch_sigma", "tooltip"], ""),
        (["inputs", "switch", "options", "auto"], ""),
        (["outputs", "1"], {}),
    ],
)
def test_a_wrong_label_is_seen(object_info: Json, path: list[str], text: Any) -> None:
    entry = locale_file("nodeDefs")["MoESampler"]
    functools.reduce(operator.getitem, path[:-1], entry)[path[-1]] = text
    assert label_complaints(object_info["MoESampler"], entry)


def test_wrong_words_and_a_page_without_the_labels_of_the_locale_file_are_seen(object_info: Json) -> None:
    info, words = object_info["IdentityEncode"], {"nodeCategories": {"WanCast": "W", "identity": "I"}}
    assert word_complaints([info], words)
    assert word_complaints([info], {"nodeCategories": {"WanCast": "W"}, "dataTypes": {"WAN_IDENTITY": "I"}})
    entry = locale_file("nodeDefs")["IdentityEncode"] | {"display_name": info["display_name"]}
    assert list(page_complaints(info, page_of("IdentityEncode", "en"), LANGUAGES["en"], entry))
