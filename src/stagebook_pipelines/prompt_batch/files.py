"""Which prompts of which files a batch asks."""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path

from stagebook_pipelines.prompt_batch.archives.models import ArchiveFile, ExtractedPrompt, FileError, SourceUnreadable
from stagebook_pipelines.prompt_batch.archives.reading import read_prompts
from stagebook_pipelines.prompt_batch.archives.seen import SeenKeys
from stagebook_pipelines.prompt_batch.archives.sources import list_archives
from stagebook_pipelines.prompt_batch.given_prompts import INLINE, keyed, laid_down
from stagebook_pipelines.prompt_batch.models import Batch, BatchFile
from stagebook_pipelines.prompt_batch.problem import BatchError


def wanted_files(given: Batch) -> Iterator[BatchFile]:
    """List the files of a batch, in the order of their names.

    Where only so many prompts are wanted, or none twice, the files are read for it: each then says which of its prompts
    it gives, so that they can be read at once, and again after a kill, with the same outcome.

    Raises:
        SourceUnreadable: There is no such source, or what holds it failed while a file was read.
    """
    if given.source is None:
        size = sum(map(len, given.prompts or ()))
        files: Iterator[ArchiveFile] = iter((ArchiveFile(path=INLINE, source="", size=size),))
    else:
        files = list_archives(given.source or "", given.pattern)
    if given.max_prompts is None and not given.unique:
        yield from (BatchFile(**file.__dict__) for file in files)
        return
    left = given.max_prompts
    seen = SeenKeys() if given.unique else None
    for file in files:
        if left == 0:
            return
        chosen = _chosen(BatchFile(**file.__dict__), given, left, seen)
        yield chosen
        if left is not None:
            left -= (chosen.take or 0) - len(chosen.repeats)


def prompts_of(
    file: BatchFile, given: Batch, warn: Callable[[str], None], *, whole: bool = True
) -> Iterator[ExtractedPrompt]:
    """Read the prompts of a file that are wanted; what cannot be read is told, and stops nothing after it.

    Args:
        file: The file.
        given: The batch.
        warn: Told what cannot be read.
        whole: Whether a file of which nothing can be read is an error.

    Raises:
        BatchError: It is one.
        SourceUnreadable: What holds the file failed meanwhile, so that the file is to be read again.
    """
    repeats = set(file.repeats)
    place = 0
    lost: list[str] = []
    with closing(_read(file, given)) as found:
        for one in found:
            if isinstance(one, FileError):
                _stop_if_interrupted(one)
                told = one.message if one.file in one.message else f"{one.file}: {one.message}"
                if one.lost and not place and not lost and whole:
                    lost.append(told)  # told as the error, if nothing else comes
                else:
                    warn(told)
                continue
            if lost:
                warn(lost.pop())
            if file.take is not None and place >= file.take:
                return
            if place not in repeats:
                yield one
            place += 1
    if lost:
        raise BatchError(lost[0])


def _chosen(file: BatchFile, given: Batch, left: int | None, seen: SeenKeys | None) -> BatchFile:
    """Say which prompts of a file are wanted.

    Args:
        file: The file.
        given: The batch.
        left: How many prompts are still wanted; None for all.
        seen: Texts that stood before; None where one may stand twice.
    """
    repeats: list[int] = []
    take = 0
    with closing(_read(file, given)) as found:
        for one in found:
            if isinstance(one, FileError):
                _stop_if_interrupted(one)
                continue
            if left is not None and take - len(repeats) >= left:
                break
            if seen is not None and seen.count(int(_digest(one), 16)) > 1:
                repeats.append(take)
            take += 1
    return file.model_copy(update={"take": take, "repeats": repeats})


def _stop_if_interrupted(error: FileError) -> None:
    if error.interrupted:
        raise SourceUnreadable(f"{error.message}; resume, and it is read again")


def _digest(prompt: ExtractedPrompt) -> str:
    """Give the part of a prompt's key that is the hash of its text."""
    return prompt.key.rpartition(":")[2].partition(".")[0]


def _read(file: BatchFile, given: Batch) -> Generator[ExtractedPrompt | FileError]:
    """Read a file, or the prompts that were given themselves; no key comes twice."""
    if given.prompts is not None:
        yield from keyed(
            ExtractedPrompt(key="", text=text, file=INLINE, index=index) for index, text in enumerate(given.prompts)
        )
        return
    if given.prompts_file is not None:
        yield from laid_down(Path(given.prompts_file))
        return
    with closing(read_prompts(file, column=given.column)) as found:
        for one in found:
            if isinstance(one, ExtractedPrompt) and one.file != file.path:  # a member of a packed file
                member = one.file.removeprefix(f"{file.path}/")
                yield one.model_copy(update={"key": f"{member}:{one.key}"})
            else:
                yield one
