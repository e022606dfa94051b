"""Sentences from the docstrings of Python's own standard library: real text that every machine has."""

from __future__ import annotations

import ast
import re
import sysconfig
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

PAD, UNK, BOS, EOS = range(4)
SPECIAL = ("<pad>", "<unk>", "<bos>", "<eos>")
"""The first words of every vocabulary, at the numbers above."""

_OTHERS = {"site-packages", "dist-packages", "test", "tests", "idle_test", "encodings", "pydoc_data"}
"""Folders that are no part of the library, are not installed everywhere, or are data without docstrings."""

# Code, tables and signatures have digits, brackets or underscores in them, prose hardly ever.
_PROSE = re.compile(r"[A-Z][A-Za-z ,;:'-]*[.!?]")
_TOKEN = re.compile(r"[a-z]+(?:['-][a-z]+)*|[.,;:!?]")


class DocstringData(LightningDataModule):
    """Batches of ``(tokens,)`` of shape ``(batch, length)``: ``<bos>``, a sentence, ``<eos>``, then ``<pad>``.

    The sentences are the same on one machine every time. Another version of Python has slightly other docstrings, so
    its losses can't be compared with these to the last digit. No module is imported: its source is parsed.

    Args:
        batch_size: Sentences in a batch.
        vocabulary_size: Different tokens, with the four special ones; rarer words are ``<unk>``.
        max_tokens: Words and punctuation of the longest sentences that are kept; the shortest have 5.
        validation_share: Share of the sentences that is kept for validation.
        seed: Decides which those are.
    """

    def __init__(
        self,
        batch_size: int = 32,
        vocabulary_size: int = 1000,
        max_tokens: int = 12,
        validation_share: float = 0.15,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.vocabulary_size = vocabulary_size
        self.max_tokens = max_tokens
        self.validation_share = validation_share
        self.seed = seed
        self.vocabulary: list[str] = []

    def setup(self, stage: str) -> None:
        sentences = [words for words in standard_library_sentences() if 5 <= len(words) <= self.max_tokens]
        held_out = round(len(sentences) * self.validation_share)
        order = torch.randperm(len(sentences), generator=torch.Generator().manual_seed(self.seed)).tolist()
        # Of the training sentences alone: what validation has besides is unknown, as it would be in use.
        self.vocabulary = vocabulary_of((sentences[i] for i in order[held_out:]), self.vocabulary_size)
        tokens = encode(sentences, self.vocabulary)
        self.train = TensorDataset(tokens[order[held_out:]])
        self.validation = TensorDataset(tokens[order[:held_out]])

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return DataLoader(self.train, batch_size=self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return DataLoader(self.validation, batch_size=self.batch_size)

    def test_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return self.val_dataloader()

    def predict_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return self.val_dataloader()


@cache
def standard_library_sentences() -> tuple[tuple[str, ...], ...]:
    """The different sentences of all docstrings of this Python's standard library, in the order of its files."""
    return sentences_below(Path(sysconfig.get_path("stdlib")))


def sentences_below(root: Path) -> tuple[tuple[str, ...], ...]:
    """The different sentences of all docstrings in a folder, in the order of its files; none of them is imported.

    Raises:
        FileNotFoundError: If there are none, as where Python was installed without its sources.
    """
    found: dict[tuple[str, ...], None] = {}
    for path in sorted(path for path in root.rglob("*.py") if not _OTHERS & set(path.relative_to(root).parts)):
        for text in docstrings(path.read_bytes()):
            found |= dict.fromkeys(sentences_of(text))
    if not found:
        raise FileNotFoundError(f"{root}: there are no sources with docstrings")
    return tuple(found)


def docstrings(source: bytes | str) -> Iterator[str]:
    r"""The docstrings of a module, its classes and their methods, and its functions, from top to bottom.

    Example:
        >>> list(docstrings("'''Module.'''\nclass A:\n    '''Class.'''\n    def f(self): 'Method.'"))
        ['Module.', 'Class.', 'Method.']
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escapes in strings that are not ours
        try:
            module = ast.parse(source)
        except (SyntaxError, ValueError):  # a template, or a file that is wrong on purpose
            return
    yield from _docstrings_below(module)


def _docstrings_below(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    if text := ast.get_docstring(node):
        yield text
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _docstrings_below(child)


def sentences_of(docstring: str) -> Iterator[tuple[str, ...]]:
    r"""The sentences of a docstring that are prose, in lower case, as words and punctuation.

    Example:
        >>> list(sentences_of("Return the file's name.  See\nalso f(x).\n\nRaises an error if there's none!"))
        [('return', 'the', "file's", 'name', '.'), ('raises', 'an', 'error', 'if', "there's", 'none', '!')]
    """
    for paragraph in re.split(r"\n\s*\n", docstring):
        for sentence in re.split(r"(?<=[.!?])\s+", " ".join(paragraph.split())):
            if _PROSE.fullmatch(sentence):
                yield tuple(_TOKEN.findall(sentence.lower()))


def vocabulary_of(sentences: Iterable[tuple[str, ...]], size: int) -> list[str]:
    """The special tokens and the most frequent ones, at most ``size`` together; equally frequent ones by name.

    Example:
        >>> vocabulary_of([("b", "a", "."), ("c", ".")], 6)
        ['<pad>', '<unk>', '<bos>', '<eos>', '.', 'a']
    """
    counts = Counter(token for sentence in sentences for token in sentence)
    ranked = sorted(counts, key=lambda token: (-counts[token], token))
    return [*SPECIAL, *ranked][:size]


def encode(sentences: list[tuple[str, ...]], vocabulary: list[str]) -> Tensor:
    """The numbers of the tokens, of shape ``(sentences, length)``, each row filled up to the longest one.

    Example:
        >>> encode([("a", "b"), ("c",)], [*SPECIAL, "a", "b"]).tolist()
        [[2, 4, 5, 3], [2, 1, 3, 0]]
    """
    number = {token: i for i, token in enumerate(vocabulary)}
    rows = [torch.tensor([BOS, *(number.get(token, UNK) for token in words), EOS]) for words in sentences]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)
