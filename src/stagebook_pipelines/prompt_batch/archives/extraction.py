"""Prompts out of all archives of a source, at once."""

from collections.abc import Generator
from contextlib import ExitStack, closing
from pathlib import Path

from stagebook_pipelines.prompt_batch.archives.export import Form, destination, exported
from stagebook_pipelines.prompt_batch.archives.models import ExtractedPrompt, Extraction, FileError, SourceUnreadable
from stagebook_pipelines.prompt_batch.archives.reading import read_prompts
from stagebook_pipelines.prompt_batch.archives.seen import SeenKeys
from stagebook_pipelines.prompt_batch.archives.sources import list_archives
from stagebook_pipelines.prompt_batch.archives.stream import LARGEST_RECORD


def extract_prompts(
    directory: str | Path | None = None,
    *,
    source: str | Path | None = None,
    pattern: str = "*",
    max_prompts: int | None = None,
    export: Form | None = None,
    export_path: str | Path | None = None,
    unique: bool = False,
    keep: bool = True,
    column: str | None = None,
    largest_record: int = LARGEST_RECORD,
) -> Extraction:
    """Extract what people asked out of archives: exports of ChatGPT and Claude, ShareGPT, logs, question sets, tables.

    ```python
    from stagebook_pipelines.prompt_batch import extract_prompts

    found = extract_prompts(directory="archives/", max_prompts=1000)
    ```

    Args:
        directory: The folder; the older name of `source`.
        source: A folder (with the folders in it), a file, or `s3://bucket/prefix`.
        pattern: Which files, as a shell pattern such as `*.json`.
        max_prompts: How many prompts at most; files beyond them are not opened.
        export: Write the prompts to a file as well: `jsonl`, one object a line; or `txt`, one prompt a line,
            those of several lines as JSON strings, so that they are read again as they were.
        export_path: That file. Without it, `prompts.jsonl` or `prompts.txt` in the current folder; without `export`,
            its ending says which form.
        unique: Leave out prompts whose text has been given before, in whatever file.
        keep: Whether the prompts are in the result as well. With False and an export, memory is constant, however large
            the archives are.
        column: The field or column that holds the prompt, where it is none that is known.
        largest_record: Bytes that one record may have; a larger one is told and left out.

    Returns:
        The prompts, how many they are, how many files were read, and what went wrong, file by file. A source that
        is not there is such an error, too.

    Raises:
        ValueError: Neither or both of `directory` and `source` are given, or a setting is impossible.
        OSError: The export cannot be written.
    """
    if (directory is None) == (source is None):
        raise ValueError("Name the archives by source= (or by directory=, its older name), and not by both")
    if max_prompts is not None and max_prompts < 0:
        raise ValueError(f"max_prompts is {max_prompts}; give a number of 0 or more")
    place = str(source if directory is None else directory)
    goes_to = destination(export, export_path)
    done = Extraction(prompts=[], total=0, files_processed=0, errors=[])
    seen = SeenKeys() if unique else None
    with ExitStack() as stack:
        writer = None
        if goes_to is not None:
            writer = stack.enter_context(exported(*goes_to))
            done.exported = str(goes_to[0])
        if max_prompts == 0:
            return done
        for prompt in stack.enter_context(closing(_all(place, pattern, column, largest_record, done))):
            if seen is not None and seen.count(int(prompt.key[:16], 16)) > 1:
                continue
            done.total += 1
            if writer is not None:
                writer.write(prompt)
            if keep:
                done.prompts.append(prompt)
            if done.total == max_prompts:
                break
    return done


def _all(source: str, pattern: str, column: str | None, largest: int, done: Extraction) -> Generator[ExtractedPrompt]:
    """Read file after file; errors and counts go into what is given."""
    try:
        for file in list_archives(source, pattern):
            given = lost = 0
            with closing(read_prompts(file, column=column, largest_record=largest)) as found:
                for one in found:
                    if isinstance(one, FileError):
                        done.errors.append(one)
                        lost += one.lost
                        continue
                    given += 1
                    done.files_processed += given == 1
                    yield one
            done.files_processed += not (given or lost)
    except SourceUnreadable as problem:
        done.errors.append(FileError(file=source, message=str(problem)))
