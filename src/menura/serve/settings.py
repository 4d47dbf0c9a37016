"""Every limit of the server, in one place (reliability: limits)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

MEBIBYTE, KIBIBYTE = 1 << 20, 1 << 10
# The least and the greatest value of each setting by which tokens are chosen, as every interface takes them: OpenAI's
# ranges, and those of transformers for the rest.
SAMPLING_RANGES: Mapping[str, tuple[float, float]] = {
    "temperature": (0.0, 2.0),
    "top_p": (0.0, 1.0),
    "top_k": (0, 2**31 - 1),
    "min_p": (0.0, 1.0),
    "presence_penalty": (-2.0, 2.0),
    "frequency_penalty": (-2.0, 2.0),
    "repetition_penalty": (1.0, 10.0),
    "logit_bias": (-100.0, 100.0),
    "seed": (-(2**63), 2**63 - 1),
}


@dataclass(frozen=True)
class EngineSettings:
    """What the engine may hold and run at once.

    ``slots`` are rows of the batch over all bases, ``max_waiting`` and ``max_waiting_tokens`` bound the queue,
    ``max_wait`` (seconds) how long a request stays in it. ``slots_per_owner`` 0: all of them. ``resident_bytes`` are of
    personas in memory, ``prefix_bytes`` of key-value caches kept for the next turn of a conversation.
    """

    slots: int = 32
    max_waiting: int = 64
    max_waiting_tokens: int = 65_536
    max_wait: float = 30.0
    slots_per_owner: int = 0
    resident_bytes: int = 2 << 30
    prefix_bytes: int = 256 * MEBIBYTE
    max_count: int = 32  # replies of one request
    default_new_tokens: int = 128


@dataclass(frozen=True)
class HttpLimits:
    """What of a request is read at most, and for how long; times in seconds."""

    header_bytes: int = 32 * KIBIBYTE
    header_fields: int = 100
    url_bytes: int = 8 * KIBIBYTE
    body_bytes: int = MEBIBYTE
    upload_bytes: int = 2 << 30
    paste_bytes: int = 32 * MEBIBYTE
    header_seconds: float = 10.0
    body_seconds: float = 60.0
    write_seconds: float = 30.0
    connections: int = 512
    connections_per_address: int = 64
    wrong_keys_per_minute: int = 10
    json_depth: int = 32
    json_keys: int = 10_000
    messages: int = 256
    stop_strings: int = 4
    stop_characters: int = 64
    logit_biases: int = 300
    top_logprobs: int = 20
    listed_models: int = 10_000


@dataclass(frozen=True)
class JobLimits:
    """How many adaptations run and wait at once, and how long their records are kept (seconds)."""

    running: int = 1
    waiting: int = 16
    kept_seconds: float = 86_400.0
    personas_per_key: int = 10_000


@dataclass(frozen=True)
class ServerSettings:
    """How the server listens and what it allows.

    ``host`` other than a loopback address needs a key. ``hosts`` and ``origins`` are allowed beside those of the
    address it listens on. ``raw_prompts`` allows ``/v1/completions``; None: on loopback alone.
    ``store`` is a folder or an address of fsspec (``s3://bucket/personas``) whose personas are served and never
    changed; empty: those of the workspace.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    raw_prompts: bool | None = None
    store: str = ""
    device: str = "cpu"
    dtype: str = "float32"
    offline: bool = False
    drain_seconds: float = 30.0
    engine: EngineSettings = field(default_factory=EngineSettings)
    http: HttpLimits = field(default_factory=HttpLimits)
    jobs: JobLimits = field(default_factory=JobLimits)
