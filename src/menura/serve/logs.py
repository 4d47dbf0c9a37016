"""What the server notes becomes one JSON object a line: request ids and routes, never what anybody wrote."""

import json
import logging
import sys

FACTS = ("request_id", "method", "path", "status", "seconds")


class JsonLines(logging.Formatter):
    """Records as JSON, a line each, whatever they hold."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; of an error its kind and where it was raised, not its words, which may be a user's."""
        facts: dict[str, object] = {
            "time": self.formatTime(record),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        facts |= {name: getattr(record, name) for name in FACTS if hasattr(record, name)}
        if record.exc_info and record.exc_info[1]:
            facts |= _raised(record.exc_info[1])
        return json.dumps(facts)


def set_up(*, verbose: bool) -> None:
    """Send what the server notes to the error stream: warnings and errors, with ``verbose`` every request too."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name, level in (("menura.serve", logging.INFO if verbose else logging.WARNING), ("uvicorn", logging.ERROR)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)


def _raised(error: BaseException) -> dict[str, object]:
    places = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{code.co_filename.rpartition('/')[2]}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return {"error": type(error).__name__, "raised": places[-8:]}
