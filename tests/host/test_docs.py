"""The help pages and the Chinese labels say what the nodes have: no less, no more, with the right types and ranges.

Every comparison is a function from what the host says and what we wrote to complaints, so that each can be shown to
fail.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import dropwhile, takewhile
from typing import Any

import pytest

from devtools.server import HostServer
from tests.host.live import ROOT, Client, Json, ask
from tests.host.recipes import NODES

DYNAMIC_COMBO = "COMFY_DYNAMICCOMBO_V3"
TYPE_WORD = re.compile(r"[A-Z][A-Z0-9_]+")
MESSAGE_SYNTAX = re.compile(r"[{}@|]")  # the page's translator takes these for placeholders, links and plurals


@dataclass(frozen=True, slots=True)
class Words:
    """The fixed words of a help page in one language."""

    inputs: str
    outputs: str
    required: str
    optional: str
    number: str  # least and greatest value and the default of a number
    default: str


LANGUAGES = {
    "en": Words("Inputs", "Outputs", "Yes", "No", "{} to {} (default {})", "default"),
    "zh": Words(
        "\u8f93\u5165", "\u8f93\u51fa", "\u662f", "\u5426", "{} \u81f3 {}\uff08\u9ed8\u8ba4 {}\uff09", "\u9ed8\u8ba4"
    ),
}


# What the host says


@dataclass(frozen=True, slots=True)
class Slot:
    """An input of a node, or one that a choice of its DynamicCombo brings."""

    name: str
    kind: str
    about: Json
    required: bool
    choice: tuple[str, ...] = ()  # the DynamicCombo and its choice

    @property
    def types(self) -> set[str]:
        """The type in the words of a page."""
        return {"COMBO"} if self.kind == DYNAMIC_COMBO else set(self.kind.split(","))

    @property
    def key(self) -> str:
        """Its name in a locale file."""
        return self.name.replace(".", "_")


def slots_of(inputs: Json, prefix: str = "", choice: tuple[str, ...] = ()) -> Iterator[Slot]:
    """Every input in order, those of a DynamicCombo's choices behind it."""
    for group in ("required", "optional"):
        for name, (kind, *about) in inputs.get(group, {}).items():
            slot = Slot(prefix + name, kind, about[0] if about else {}, group == "required", choice)
            yield slot
            for option in slot.about.get("options", []) if kind == DYNAMIC_COMBO else []:
                yield from slots_of(option["inputs"], f"{slot.name}.", (slot.name, option["key"]))


# What the pages say


def first_table(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table under a heading, without the table's own head."""
    section = re.search(rf"^## {heading}$(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    lines = iter(section[1].splitlines() if section else [])
    table = takewhile(lambda line: line.startswith("|"), dropwhile(lambda line: not line.startswith("|"), lines))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table][2:]


def page_complaints(info: Json, page: str, words: Words, entry: Json | None) -> Iterator[str]:
    """What is wrong with a help page; a translated one shows the labels of the locale file ``entry`` beside the ids."""
    title = info["display_name"] if entry is None else entry["display_name"]
    if not page.startswith(f"# {title}\n"):
        yield f"the title is not {title!r}"
    inputs, slots = first_table(page, words.inputs), list(slots_of(info["input"]))
    labels = [entry["inputs"].get(slot.key, {}).get("name") for slot in slots] if entry else None
    yield from name_complaints("inputs", inputs, [slot.name for slot in slots], labels)
    rows = {row[0].split("`")[1]: row for row in inputs if row[0].startswith("`")}
    for slot in slots:
        if slot.name in rows:
            yield from (f"{slot.name}: {complaint}" for complaint in row_complaints(slot, rows[slot.name], words))
    outputs = first_table(page, words.outputs)
    labels = [entry["outputs"].get(str(i), {}).get("name") for i in range(len(info["output"]))] if entry else None
    yield from name_complaints("outputs", outputs, info["output_name"], labels)
    for kind, name, row in zip(info["output"], info["output_name"], outputs, strict=False):
        if set(TYPE_WORD.findall(row[2])) != {kind}:
            yield f"output {name}: type {row[2]!r} instead of {kind}"


def name_complaints(
    what: str, table: list[list[str]], names: list[str], labels: list[str | None] | None
) -> Iterator[str]:
    """The first column must hold the names in the node's order, with their labels where there are any."""
    wanted = [f"`{name}`" for name in names]
    if labels:
        wanted = [f"{name} {label}" for name, label in zip(wanted, labels, strict=True)]
    found = [row[0] for row in table]
    if sorted(found) != sorted(wanted):
        missing, foreign = [n for n in wanted if n not in found], [n for n in found if n not in wanted]
        yield f"{what}: lacks {missing}, has too many {foreign}"
    elif found != wanted:
        yield f"{what}: in the order {found} instead of {wanted}"


def row_complaints(slot: Slot, row: list[str], words: Words) -> Iterator[str]:
    """What is wrong with one row: parameter, description, type, required, range."""
    if len(row) != 5:
        yield f"{len(row)} cells instead of 5"
        return
    _, description, kind, required, numbers = row
    if not description:
        yield "no description"
    if set(TYPE_WORD.findall(kind)) != slot.types:
        yield f"type {kind!r} instead of {' or '.join(sorted(slot.types))}"
    if slot.choice and not all(f"`{word}`" in required for word in slot.choice):
        yield f"required {required!r} does not name {slot.choice}"
    if not slot.choice and required != (words.required if slot.required else words.optional):
        yield f"required {required!r}"
    if slot.kind in ("INT", "FLOAT"):
        wanted = words.number.format(*(number_words(slot.about[key]) for key in ("min", "max", "default")))
        if numbers != wanted:
            yield f"range {numbers!r} instead of {wanted!r}"
    yield from choice_complaints(slot, numbers, words)


def choice_complaints(slot: Slot, numbers: str, words: Words) -> Iterator[str]:
    """A range must name every choice of a DynamicCombo, and the default of a choice or a text."""
    choices = [option["key"] for option in slot.about["options"]] if slot.kind == DYNAMIC_COMBO else []
    default = choices[0] if choices else slot.about.get("default") if slot.kind in ("COMBO", "STRING") else None
    missing = [choice for choice in choices if f"`{choice}`" not in numbers]
    if missing:
        yield f"range {numbers!r} lacks {missing}"
    says_default = rf"`{re.escape(str(default))}` ?[(\uff08]{words.default}|{words.default} `{re.escape(str(default))}`"
    if default and not re.search(says_default, numbers):
        yield f"range {numbers!r} does not say that {default!r} is the default"


def number_words(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:g}"


# What the locale file says


def label_complaints(info: Json, entry: Json) -> Iterator[str]:
    """What is wrong with the labels of one node."""
    for what, found, wanted in (
        ("inputs", set(entry["inputs"]), {slot.key for slot in slots_of(info["input"])}),
        ("outputs", set(entry["outputs"]), {str(index) for index in range(len(info["output"]))}),
    ):
        if found != wanted:
            yield f"{what}: lacks {sorted(wanted - found)}, has too many {sorted(found - wanted)}"
    if not (entry.get("display_name") and entry.get("description")):
        yield "no display_name or no description"
    for name, part in [*entry["inputs"].items(), *entry["outputs"].items()]:
        if not (part.get("name") and part.get("tooltip")):
            yield f"{name}: no name or no tooltip"
    yield from (f"{text!r} holds syntax" for text in texts_of(entry) if MESSAGE_SYNTAX.search(text))


def texts_of(tree: Any) -> Iterator[str]:
    """Every text in a tree of JSON objects."""
    if isinstance(tree, dict):
        for part in tree.values():
            yield from texts_of(part)
    else:
        yield tree


def word_complaints(infos: Iterable[Json], words: Json) -> Iterator[str]:
    """What is wrong with the words for categories and for sockets of our own."""
    infos = list(infos)
    kinds = {slot.kind for info in infos for slot in slots_of(info["input"])} | {k for i in infos for k in i["output"]}
    for what, wanted in (
        ("nodeCategories", {part for info in infos for part in info["category"].split("/")}),
        ("dataTypes", {kind for kind in kinds if kind.startswith("WAN_")}),
    ):
        if set(words[what]) != wanted:
            yield f"{what}: found {sorted(words[what])}, wanted {sorted(wanted)}"
    yield from (f"{text!r} holds syntax" for text in texts_of(words) if MESSAGE_SYNTAX.search(text))


# What we wrote


def page_of(node: str, language: str) -> str:
    return (ROOT / "web" / "docs" / node / f"{language}.md").read_text(encoding="utf-8")


def locale_file(name: str) -> Json:
    return json.loads((ROOT / "locales" / "zh" / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def object_info(live_host: HostServer) -> Json:
    return Client(live_host.url).get("/object_info")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("node", NODES)
def test_the_help_page_tells_what_the_node_has(object_info: Json, node: str, language: str) -> None:
    entry = None if language == "en" else locale_file("nodeDefs")[node]
    assert list(page_complaints(object_info[node], page_of(node, language), LANGUAGES[language], entry)) == []


@pytest.mark.parametrize("node", NODES)
def test_the_chinese_labels_tell_what_the_node_has(object_info: Json, node: str) -> None:
    assert list(label_complaints(object_info[node], locale_file("nodeDefs")[node])) == []


def test_categories_and_sockets_have_chinese_words(object_info: Json) -> None:
    assert list(word_complaints((object_info[node] for node in NODES), locale_file("main"))) == []


def test_no_page_and_no_label_is_left_of_a_node_that_is_gone() -> None:
    pages = {path.relative_to(ROOT / "web" / "docs").as_posix() for path in (ROOT / "web" / "docs").rglob("*.md")}
    assert pages == {f"{node}/{language}.md" for node in NODES for language in LANGUAGES}
    assert set(locale_file("nodeDefs")) == set(NODES)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("node", NODES)
def test_the_host_serves_the_page_where_the_editor_looks_for_it(
    client: Client, object_info: Json, node: str, language: str
) -> None:
    pack = object_info[node]["python_module"].removeprefix("custom_nodes.")
    served = ask(f"{client.url}/extensions/{pack}/docs/{node}/{language}.md").decode("utf-8")
    assert served == page_of(node, language)


def test_the_host_hands_the_chinese_words_to_the_editor(client: Client) -> None:
    chinese = client.get("/i18n")["zh"]
    assert {node: chinese["nodeDefs"].get(node) for node in NODES} == locale_file("nodeDefs")
    for group, words in locale_file("main").items():
        assert {word: chinese[group].get(word) for word in words} == words


# Each comparison can fail

INFO: Json = {
    "display_name": "A Node",
    "category": "WanCast/audio",
    "input": {
        "required": {
            "person": ["WAN_IDENTITY", {}],
            "share": ["FLOAT", {"min": 0.0, "max": 2.0, "default": 0.5}],
            "mode": ["COMBO", {"default": "slow", "options": ["slow", "fast"]}],
            "unit": [
                DYNAMIC_COMBO,
                {
                    "options": [
                        {"key": "auto", "inputs": {"required": {}}},
                        {"key": "step", "inputs": {"required": {"step": ["INT", {"min": 0, "max": 9, "default": 3}]}}},
                    ]
                },
            ],
        },
        "optional": {"clip": ["IMAGE,VIDEO", {}]},
    },
    "output": ["FLOAT", "STRING"],
    "output_name": ["score", "report"],
}
PAGE = """# A Node

It does one thing.

## Inputs

| Parameter | Description | Data type | Required | Range |
| --- | --- | --- | --- | --- |
| `person` | Who. | WAN_IDENTITY | Yes | - |
| `share` | How much. | FLOAT | Yes | 0 to 2 (default 0.5) |
| `mode` | How. | COMBO | Yes | `slow` (default), `fast` |
| `unit` | In which unit. | COMBO | Yes | `auto` (default), `step` |
| `unit.step` | Which step. | INT | If `unit` is `step` | 0 to 9 (default 3) |
| `clip` | What. | IMAGE or VIDEO | No | - |

### A note

| Something | Else |
| --- | --- |
| `a` | b |

## Outputs

| Parameter | Description | Data type |
| --- | --- | --- |
| `score` | A number. | FLOAT |
| `report` | In words. | STRING |
"""
LABEL = {"name": "N", "tooltip": "T"}
ENTRY: Json = {
    "display_name": "A Node",
    "description": "D",
    "inputs": dict.fromkeys(("person", "share", "mode", "unit", "unit_step", "clip"), LABEL),
    "outputs": {"0": LABEL, "1": LABEL},
}
WORDS: Json = {"nodeCategories": {"WanCast": "W", "audio": "A"}, "dataTypes": {"WAN_IDENTITY": "I"}}

BAD_PAGES = [
    ("# A Node", "# Another"),
    ("| `share` | How much. | FLOAT | Yes | 0 to 2 (default 0.5) |\n", ""),
    ("| `clip` |", "| `clips` |"),
    ("| `unit.step` |", "| `step` |"),
    ("| `person` |", "| `person` N |"),
    ("| `report` | In words. | STRING |", "| `report` | In words. | STRING |\n| `plot` | A chart. | IMAGE |"),
    ("| `score` | A number. | FLOAT |\n", ""),
    ("| A number. | FLOAT |", "| A number. | INT |"),
    ("| WAN_IDENTITY |", "| IMAGE |"),
    ("IMAGE or VIDEO", "IMAGE"),
    ("IMAGE or VIDEO | No |", "IMAGE or VIDEO | Yes |"),
    ("If `unit` is `step`", "Yes"),
    ("0 to 2 (default 0.5)", "0 to 1 (default 0.5)"),
    ("0 to 2 (default 0.5)", "0 to 2"),
    ("`slow` (default), `fast`", "`slow`, `fast` (default)"),
    ("`auto` (default), `step`", "`auto` (default)"),
    ("| Who. |", "| |"),
    ("## Outputs", "## Results"),
]
BAD_ENTRIES: list[Json] = [
    {"description": ""},
    {"description": "a | b"},
    {"inputs": {name: label for name, label in ENTRY["inputs"].items() if name != "unit_step"}},
    {"inputs": ENTRY["inputs"] | {"unit.step": LABEL}},
    {"inputs": ENTRY["inputs"] | {"clip": {"name": "N"}}},
    {"outputs": {"0": LABEL}},
    {"outputs": ENTRY["outputs"] | {"2": LABEL}},
]
BAD_WORDS: list[Json] = [
    {"nodeCategories": {"WanCast": "W"}},
    {"nodeCategories": {"WanCast": "W", "audio": "A", "video": "V"}},
    {"dataTypes": {}},
    {"dataTypes": {"WAN_IDENTITY": "{I}"}},
]


def test_a_good_sample_passes() -> None:
    labelled = re.sub(r"^\| (`[\w.]+`) \|", r"| \1 N |", PAGE, flags=re.MULTILINE)
    assert list(page_complaints(INFO, PAGE, LANGUAGES["en"], None)) == []
    assert list(page_complaints(INFO, labelled, LANGUAGES["en"], ENTRY)) == []
    assert list(label_complaints(INFO, ENTRY)) == []
    assert list(word_complaints([INFO], WORDS)) == []


@pytest.mark.parametrize(("good", "bad"), BAD_PAGES)
def test_a_wrong_page_is_seen(good: str, bad: str) -> None:
    assert PAGE.count(good) == 1
    assert list(page_complaints(INFO, PAGE.replace(good, bad), LANGUAGES["en"], None))


def test_a_page_without_the_labels_of_the_locale_file_is_seen() -> None:
    assert list(page_complaints(INFO, PAGE, LANGUAGES["en"], ENTRY))


@pytest.mark.parametrize("change", BAD_ENTRIES)
def test_a_wrong_label_is_seen(change: Json) -> None:
    assert list(label_complaints(INFO, ENTRY | change))


@pytest.mark.parametrize("change", BAD_WORDS)
def test_a_wrong_word_is_seen(change: Json) -> None:
    assert list(word_complaints([INFO], WORDS | change))
