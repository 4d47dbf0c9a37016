"""What Menura uses of torch that is not public: named here, and there in the torch that is installed."""

import ast
import importlib
import re
from pathlib import Path

import pytest
import torch
from torch import nn

import menura

SOURCE = Path(menura.__file__).parent
# The file that may use it, by what it uses. Another torch that lacks one fails here, by name.
PRIVATE = {
    "torch.ops.mkldnn._linear_pointwise": {"packed_linear.py", "argmax.py"},
    "torch.ops.mkldnn._reorder_linear_weight": {"packed_linear.py", "argmax.py"},
    "torch._C._has_mkldnn": {"packed_linear.py"},
    "torch._C._functorch.peek_interpreter_stack": {"packed_linear.py"},
    "torch._subclasses.fake_tensor.FakeTensorMode": {"compile_graph.py"},
    "torch._guards.TracingContext": {"compile_graph.py"},
    "torch._guards.tracing": {"compile_graph.py"},
    "torch._inductor.compile_fx.compile_fx": {"compile_graph.py"},
    "torch._dynamo.source.ConstantSource": {"compile_graph.py"},
}
SCHEMAS = {
    "mkldnn._linear_pointwise": (
        "(Tensor X, Tensor W, Tensor? B, str attr, Scalar?[] scalars, str? algorithm) -> Tensor Y"
    ),
    "mkldnn._reorder_linear_weight": "(Tensor self, int? batch_size=None) -> Tensor Y",
    "aten._scaled_dot_product_flash_attention_for_cpu": (
        "(Tensor query, Tensor key, Tensor value, float dropout_p=0., bool is_causal=False, *, Tensor? attn_mask=None, "
        "float? scale=None) -> (Tensor output, Tensor logsumexp)"
    ),
}


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def used_in(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            found.add(dotted(node))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("torch"):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if re.match(r"torch\b.*\._[a-zA-Z]", name)}


def test_no_other_private_name_of_torch_is_used() -> None:
    found: dict[str, set[str]] = {}
    for path in SOURCE.rglob("*.py"):
        for name in used_in(path):
            found.setdefault(name, set()).add(path.name)
    longest = {name: files for name, files in found.items() if not any(n.startswith(f"{name}.") for n in found)}
    assert longest == PRIVATE


@pytest.mark.parametrize("name", PRIVATE)
def test_the_torch_that_is_installed_has_it(name: str) -> None:
    module, _, last = name.rpartition(".")
    if name.startswith("torch.ops"):
        assert hasattr(getattr(torch.ops, module.rpartition(".")[2]), last)
    else:
        assert hasattr(importlib.import_module(module), last)


@pytest.mark.parametrize(("name", "schema"), SCHEMAS.items())
def test_an_operation_takes_and_returns_what_it_did(name: str, schema: str) -> None:
    package, _, operation = name.partition(".")
    found = str(getattr(getattr(torch.ops, package), operation).default._schema)
    assert found.partition("(")[2] == schema[1:]


def test_a_module_keeps_its_hooks_where_they_are_looked_for() -> None:
    part = nn.Linear(2, 2)
    part.register_forward_hook(print)
    part.register_forward_pre_hook(print)
    assert (len(part._forward_hooks), len(part._forward_pre_hooks)) == (1, 1)
