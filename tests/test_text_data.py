"""Sentences of docstrings: what is taken, in which order, and how it becomes numbers."""

from __future__ import annotations

import doctest
import random
from pathlib import Path

import pytest
import torch

from examples import text_data
from examples.text_data import (
    BOS,
    EOS,
    PAD,
    SPECIAL,
    UNK,
    DocstringData,
    docstrings,
    encode,
    sentences_below,
    sentences_of,
    standard_library_sentences,
    vocabulary_of,
)


def test_the_examples_in_the_docstrings_run() -> None:
    failed, tried = doctest.testmod(text_data)
    assert (failed, tried) == (0, 4)


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Close the file.", ["close the file ."]),
        ("Close the\n   file.  Open it!", ["close the file .", "open it !"]),
        ("It's a non-empty list, or None?", ["it's a non-empty list , or none ?"]),
        ("Return f(x).", []),
        ("Return x_1.", []),
        ("Without an end", []),
        ("without a capital.", []),
        ("A heading\n\nThe text.", ["the text ."]),
        (">>> f()\nTrue.", []),
    ],
)
def test_sentences_are_prose(text: str, sentences: list[str]) -> None:
    assert [" ".join(words) for words in sentences_of(text)] == sentences


def test_docstrings_from_top_to_bottom() -> None:
    source = '''
"""Module."""
"""No docstring."""
async def f():
    """Function."""
    class Inner:
        """Inner class."""
class A:
    x = """A value."""
    def g(self):
        """Method."""
'''
    assert list(docstrings(source)) == ["Module.", "Function.", "Inner class.", "Method."]


@pytest.mark.parametrize("source", ["def f(:", "\0", b"# coding: nonsense\n"], ids=["syntax", "null", "coding"])
def test_what_is_no_python_has_no_docstrings(source: str | bytes) -> None:
    assert list(docstrings(source)) == []


def test_a_string_with_an_odd_escape_is_no_warning() -> None:
    assert list(docstrings("'''Words and \\d.'''")) == ["Words and \\d."]


def library(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_files_are_sorted_sentences_once_and_nothing_is_imported(tmp_path: Path) -> None:
    files = {
        "z.py": "'''Last one. Said twice.'''",
        "b/x.py": "'''In a package.'''",
        "a.py": "'''First one. Said twice.'''\nraise SystemExit('imported')",
        "test/t.py": "'''A test.'''",
        "b/tests/t.py": "'''Another test.'''",
        "site-packages/other.py": "'''Not of the library.'''",
        "broken.py": "def",
        "note.txt": "'''No source.'''",
    }
    found = [" ".join(words) for words in sentences_below(library(tmp_path, files))]
    assert found == ["first one .", "said twice .", "in a package .", "last one ."]


def test_a_folder_without_sources_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there are no sources with docstrings"):
        sentences_below(tmp_path)


def test_vocabulary_by_frequency_then_by_name() -> None:
    sentences = [("b", "a", "."), ("c", "a", "."), (".",)]
    assert vocabulary_of(sentences, 100) == ["<pad>", "<unk>", "<bos>", "<eos>", ".", "a", "b", "c"]
    assert vocabulary_of(sentences, 6) == ["<pad>", "<unk>", "<bos>", "<eos>", ".", "a"]


def test_encoded_rows_are_filled_up() -> None:
    rows = encode([("a", "b", "rare"), ("b",)], [*SPECIAL, "a", "b"])
    assert rows.tolist() == [[BOS, 4, 5, UNK, EOS], [BOS, 5, EOS, PAD, PAD]]


@pytest.fixture(scope="module")
def data() -> DocstringData:
    data = DocstringData()
    data.setup("fit")
    return data


def test_the_text_is_that_of_the_standard_library() -> None:
    assert str(random.shuffle.__doc__).startswith("Shuffle list x in place, and return None.")
    sentences = standard_library_sentences()
    assert "shuffle list x in place , and return none ." in map(" ".join, sentences)
    assert len(sentences) == len(set(sentences)) > 5000


def test_every_row_is_a_sentence_of_5_to_12_tokens(data: DocstringData) -> None:
    rows = torch.cat([data.train.tensors[0], data.validation.tensors[0]])
    assert rows.shape == (sum(5 <= len(words) <= 12 for words in standard_library_sentences()), 14)
    assert rows.min() == PAD
    assert rows.max() < 1000 == len(data.vocabulary)
    for row in rows[::50].tolist():
        end = row.index(EOS)
        assert row[0] == BOS
        assert 6 <= end <= 13
        assert not {PAD, BOS, EOS} & set(row[1:end])
        assert set(row[end + 1 :]) <= {PAD}


def test_most_words_are_known(data: DocstringData) -> None:
    rows = data.train.tensors[0]
    assert 0.02 < (rows == UNK).sum() / (rows > EOS).sum() < 0.2


def test_the_split_is_the_seed(data: DocstringData) -> None:
    again, other = DocstringData(), DocstringData(seed=1)
    again.setup("fit")
    other.setup("fit")
    assert again.vocabulary == data.vocabulary
    assert torch.equal(again.train.tensors[0], data.train.tensors[0])
    assert torch.equal(again.validation.tensors[0], data.validation.tensors[0])
    assert len(other.validation) == len(data.validation)
    assert not torch.equal(other.validation.tensors[0], data.validation.tensors[0])


def test_no_sentence_is_in_both_and_the_vocabulary_is_that_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    # Each sentence has a word of its own.
    sentences = (*((f"w{i}", "is", "a", "word", ".") for i in range(20)), ("too", "short", "."), ("long",) * 13)
    monkeypatch.setattr(text_data, "standard_library_sentences", lambda: sentences)
    data = DocstringData(validation_share=0.25)
    data.setup("fit")
    assert (len(data.train), len(data.validation)) == (15, 5)
    assert len(data.vocabulary) == 4 + 4 + 15
    assert not {"too", "short", "long"} & set(data.vocabulary)
    assert len(set(data.train.tensors[0][:, 1].tolist())) == 15
    assert set(data.validation.tensors[0][:, 1].tolist()) == {UNK}


def test_loaders_give_batches_and_only_training_is_shuffled(data: DocstringData) -> None:
    torch.manual_seed(0)
    [tokens] = next(iter(data.train_dataloader()))
    assert tokens.shape == (32, 14)
    assert not torch.equal(tokens, data.train.tensors[0][:32])
    for loader in (data.val_dataloader(), data.test_dataloader(), data.predict_dataloader()):
        assert torch.equal(next(iter(loader))[0], data.validation.tensors[0][:32])
