"""What a machine's command prints is kept in memory up to a length: SkyPilot would keep all of it."""

from __future__ import annotations

import functools
import io
from typing import IO, TYPE_CHECKING, Any

from sky.skylet import log_lib
from sky.utils import log_utils

from k8s_sky_provider.protocol import ExitCode
from k8s_sky_provider.runner.failure import ActionFailedError

if TYPE_CHECKING:
    from typing import TextIO

LONGEST_OUTPUT = 8 * 1024 * 1024
"""Characters that are kept of a stream: more than what packs into a result, and than SkyPilot's own commands answer."""

LEFT_OUT = f"\n[k8s_sky_provider: the output goes on, {LONGEST_OUTPUT} characters of it are kept; the log has it all]\n"

_PIECE = 64 * 1024


def protect() -> None:
    """Have SkyPilot keep a bounded part of what commands print.

    :raises ActionFailedError: if this SkyPilot does not have what is to be replaced
    """
    if not hasattr(log_lib, "_handle_io_stream"):
        raise ActionFailedError(
            ExitCode.DEPLOYMENT_WRONG,
            "the image's SkyPilot reads outputs in another way; build it from images/skypilot",
        )
    # All that SkyPilot reads of commands goes through it. Of its own it sends the source to clusters, which inspect
    # finds by what update_wrapper notes.
    reads: Any = log_lib
    reads._handle_io_stream = functools.update_wrapper(_read, reads._handle_io_stream)  # noqa: SLF001  # see above


def is_cut(output: str) -> bool:
    """Tell whether a part of an output was left out."""
    return output.endswith(LEFT_OUT)


def _read(stream: IO[bytes], shown: TextIO, args: Any) -> str:
    """Read a stream to its end, as SkyPilot's own function does, and print it if that is wished for.

    A line that does not end comes in pieces. What is left out of the answer is printed as well.

    :param args: SkyPilot's ``_ProcessingArgs``
    """
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="", errors="replace", write_through=True)
    processor = args.line_processor or log_utils.LineProcessor()
    kept, left = io.StringIO(), LONGEST_OUTPUT
    begins, is_shown, has_ended, is_skipped = True, False, False, False
    # As SkyPilot opens it: for what several commands write to one after the other.
    with open(args.log_path, "a", encoding="utf-8") as file, processor:  # noqa: PTH123  # a device as well
        while piece := text.readline(_PIECE):
            line_ends = piece.endswith(("\n", "\r"))
            if args.replace_crlf and piece.endswith("\r\n"):
                piece = f"{piece[:-2]}\n"
            if begins:
                is_skipped = any(words in piece for words in args.skip_lines or ())
            prefix = (args.streaming_prefix or "") if begins else ""
            begins = line_ends
            if is_skipped:
                continue
            is_shown = is_shown or args.start_streaming_at in piece
            has_ended = has_ended or (args.end_streaming_at is not None and args.end_streaming_at in piece)
            if args.stream_logs and is_shown and not has_ended:
                print(f"{prefix}{piece}", end="", file=shown, flush=True)
            if args.log_path != "/dev/null":
                file.write(piece)
                file.flush()
            processor.process_line(piece)
            if left >= 0:
                kept.write(piece[:left])
                left -= len(piece)
    if left < 0:
        kept.write(LEFT_OUT)
    return kept.getvalue()
