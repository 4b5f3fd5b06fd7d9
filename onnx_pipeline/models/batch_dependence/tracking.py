"""The batch axis followed through a graph: which nodes work over it, and reach an output."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from onnx_pipeline.models.batch_dependence.mixing import MIXING
from onnx_pipeline.models.batch_dependence.moving import MAKES_CONSTANTS, MOVING
from onnx_pipeline.models.batch_dependence.scopes import with_unique_names
from onnx_pipeline.models.batch_dependence.shapes import Shapes, attributes, infer
from onnx_pipeline.models.batch_dependence.states import CONSTANT, LOST, ONE_ROW, Rows, Site, Taint, joined, unsure
from onnx_pipeline.models.batch_dependence.verdict import Cause
from onnx_pipeline.models.protobuf import data_inputs

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

__all__ = ["Tracker", "structural_causes"]

_SIZES_FROM = {
    "ConstantOfShape": 0, "Expand": 1, "Loop": 0, "OneHot": 1, "Pad": 1, "Range": 0, "Reshape": 1, "Resize": 1,
    "Slice": 1, "Split": 1, "Tile": 1, "TopK": 1, "Unsqueeze": 1,
}  # fmt: skip
"""From which input on an operator takes sizes and positions; they decide the shape, and rarely the value."""
_COUNTING = frozenset({"Compress", "NonZero", "Unique"})
"""How large their results are depends on values."""
_TRIES = 3


def structural_causes(model: "ModelProto") -> tuple[Cause, ...]:
    """The nodes on the way to an output that make the answer for a row depend on more than that row.

    `mixes`, `random` and `quantises` are certain by the graph alone; `may mix` wants a proof by rows. Reads no
    weights, so it takes milliseconds.
    """
    model = with_unique_names(model)
    versions = {entry.domain: entry.version for entry in model.opset_import}
    tracker = Tracker(infer(model), versions.get("", versions.get("ai.onnx", 1)))
    for value in data_inputs(model.graph):
        tracker.states[value.name] = Rows(0)
    tracker.walk(model.graph)
    reached = joined(tracker.taints.get(value.name, {}) for value in model.graph.output)
    return tuple(
        cause if strong or cause.kind == "random" else Cause("may mix", cause.node, cause.operator, cause.axis)
        for cause, strong in reached.items()
    )


class Tracker:
    """What is known of each tensor so far; names are unique in a graph and the bodies inside it."""

    def __init__(self, shapes: Shapes, opset: int) -> None:
        self.shapes = shapes
        self.opset = opset
        self.states: dict[str, Rows | None] = {}
        self.taints: dict[str, Taint] = {}

    def walk(self, graph: "GraphProto") -> None:
        """Follows the rows through the nodes of a graph, in order."""
        for node in graph.node:
            body = {each.name: each.g for each in node.attribute if each.HasField("g")}
            if body:
                self._control_flow(node, body)
            else:
                self._operator(node)

    def _operator(self, node: "NodeProto") -> None:
        inputs = [self.states.get(name) if name else CONSTANT for name in node.input]
        if node.op_type in {"Shape", "Size"}:
            # How many rows there are is no row's value; how many were found by their values is.
            found = self.taints.get(node.input[0], {})
            self.taints[node.output[0]] = {cause: by for cause, by in found.items() if cause.operator in _COUNTING}
            return
        site = Site(node, attributes(node), self.opset, self.shapes, inputs)
        rule = MIXING.get(node.op_type) or MOVING.get(node.op_type)
        state = self._guess(site) if rule is None else rule(site)
        state = self._doubted(site, state)
        taint = joined([self._taint_of(node), dict.fromkeys(site.found, True)])
        for index, name in enumerate(node.output):
            if not name:
                continue
            self.taints[name] = taint
            if node.op_type == "DynamicQuantizeLinear" and index > 0:
                self.states[name] = CONSTANT  # one scale for all rows; that it is so is the taint
            else:
                self.states[name] = self._seen(name, state, first=index == 0)

    def _doubted(self, site: Site, state: Rows | None) -> Rows | None:
        """Notes where the batch axis gets lost: from there on nothing tells what works over it."""
        fed = [rows for rows in site.inputs if rows is not None]
        if state is CONSTANT and fed and site.node.op_type not in MAKES_CONSTANTS:
            state = ONE_ROW if all(rows.alone for rows in fed) else LOST
        known = any(self.shapes.batch_axes(name) for name in site.node.output[:1])
        if state == LOST and LOST not in fed and not site.found and not known:
            site.report("may mix")
        return state

    def _seen(self, name: str, state: Rows | None, *, first: bool) -> Rows | None:
        """The state by the operator's rule, or what ONNX's inference knows better."""
        if state is None or state.alone:
            return state
        axes = self.shapes.batch_axes(name)
        if len(axes) == 1:
            return Rows(axes[0])
        return state if first else unsure(state)

    def _guess(self, site: Site) -> Rows | None:
        """An operator that nothing is known of: rows stay where they are, probably."""
        rows = next((rows for rows in site.inputs if rows is not None), None)
        if rows is not None and not rows.alone:
            site.report("may mix", rows.axis)
        return unsure(rows)

    def _taint_of(self, node: "NodeProto") -> Taint:
        sizes = _SIZES_FROM.get(node.op_type, len(node.input))
        return joined(
            [
                joined(self.taints.get(name, {}) for name in node.input[:sizes]),
                joined((self.taints.get(name, {}) for name in node.input[sizes:]), weakly=True),
            ]
        )

    def _control_flow(self, node: "NodeProto", bodies: "dict[str, GraphProto]") -> None:
        if node.op_type == "If":
            self._branches(node, list(bodies.values()))
        elif node.op_type == "Loop":
            self._loop(node, bodies["body"])
        elif node.op_type == "Scan" and self.opset >= 9:
            self._scan(node, bodies["body"])
        else:
            self._opaque(node)

    def _opaque(self, node: "NodeProto") -> None:
        cause = Cause("may mix", node.name or node.output[0], node.op_type, None)
        for name in node.output:
            self.states[name] = self._seen(name, LOST, first=True)
            self.taints[name] = joined([self._taint_of(node), {cause: True}])

    def _branches(self, node: "NodeProto", bodies: "Sequence[GraphProto]") -> None:
        condition = self.taints.get(node.input[0], {})
        if self.states.get(node.input[0]) not in (CONSTANT, ONE_ROW):
            cause = Cause("may mix", node.name or node.output[0], node.op_type, None)
            condition = joined([condition, {cause: True}])
        for body in bodies:
            self.walk(body)
        for index, name in enumerate(node.output):
            found = [body.output[index].name for body in bodies]
            states = [state for each in found if (state := self.states.get(each)) is not None]
            same = states[0] if states and all(state == states[0] for state in states) else LOST
            self.states[name] = self._seen(name, same, first=True) if states else CONSTANT
            self.taints[name] = joined([condition, *(self.taints.get(each, {}) for each in found)])

    def _enter(self, inner: str, outer: str) -> None:
        self.states[inner] = self.states.get(outer)
        self.taints[inner] = self.taints.get(outer, {})

    def _loop(self, node: "NodeProto", body: "GraphProto") -> None:
        carried = [value.name for value in body.input[2:]]
        for inner, outer in zip(carried, node.input[2:], strict=False):
            self._enter(inner, outer)
        self._settle(body, carried, [value.name for value in body.output[1:]])
        control = joined((self.taints.get(name, {}) for name in node.input[:2]), weakly=True)
        for index, name in enumerate(node.output):
            inner = body.output[1 + index].name
            state = self.states.get(inner)
            if index >= len(carried) and state is not None and state.axis is not None:
                state = Rows(state.axis + 1, state.fold, certain=state.certain)
            self.states[name] = self._seen(name, state, first=True)
            # Whether there is a next turn is decided inside.
            again = self.taints.get(body.output[0].name, {})
            self.taints[name] = joined([control, again, self.taints.get(inner, {})])

    def _settle(self, body: "GraphProto", carried: Sequence[str], results: Sequence[str]) -> None:
        """Walks a body until what it carries from turn to turn no longer changes."""
        for _ in range(_TRIES):
            self.walk(body)
            changed = False
            for inner, result in zip(carried, results, strict=False):
                before, after = self.states.get(inner), self.states.get(result)
                taint = joined([self.taints.get(inner, {}), self.taints.get(result, {})])
                if after not in (CONSTANT, before) or taint != self.taints.get(inner, {}):
                    merged = after if before is CONSTANT else before if after in (CONSTANT, before) else LOST
                    changed |= merged != before or taint != self.taints.get(inner, {})
                    self.states[inner], self.taints[inner] = merged, taint
            if not changed:
                return

    def _scan(self, node: "NodeProto", body: "GraphProto") -> None:
        given = attributes(node)
        scanned = int(given["num_scan_inputs"])
        kept = len(node.input) - scanned
        axes_in = [*given.get("scan_input_axes", []), *[0] * scanned]
        axes_out = [*given.get("scan_output_axes", []), *[0] * len(node.output)]
        row_by_row = False
        for index, (value, outer) in enumerate(zip(body.input, node.input, strict=False)):
            self._enter(value.name, outer)
            rows = self.states[value.name]
            if index < kept or rows is None or rows.axis is None:
                continue
            axis = Site.from_front(axes_in[index - kept], self.shapes.rank(outer))
            row_by_row |= rows.axis == axis
            gone = Rows(rows.axis - (axis < rows.axis), rows.fold, certain=rows.certain and axis >= 0)
            self.states[value.name] = ONE_ROW if rows.axis == axis else gone
        carried = [value.name for value in body.input[:kept]]
        before = [self.states.get(name) for name in carried]
        self._settle(body, carried, [value.name for value in body.output[:kept]])
        found: Taint = {}
        carries = any(
            state is CONSTANT and self.states.get(name) is not CONSTANT
            for state, name in zip(before, carried, strict=True)
        )
        if row_by_row and carries:
            found[Cause("mixes", node.name or node.output[0], node.op_type, 0)] = True
        for index, name in enumerate(node.output):
            inner = body.output[index].name
            state = self.states.get(inner)
            if state is not None and index >= kept:
                if state.alone:
                    state = Rows(max(axes_out[index - kept], 0), certain=axes_out[index - kept] >= 0)
                elif row_by_row:
                    found[Cause("may mix", node.name or node.output[0], node.op_type, 0)] = True
                    state = LOST
                elif state.axis is not None:
                    state = Rows(state.axis + 1, state.fold, certain=False)
            self.states[name] = self._seen(name, state, first=True)
            self.taints[name] = joined([found, self.taints.get(inner, {})])
