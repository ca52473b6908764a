"""A plan in words and numbers: a table for people, one object for machines."""

from dataclasses import asdict

from rich.table import Table

from probes.planning.plan import Plan, size, together


FLOPS = ((15, "PFLOP"), (12, "TFLOP"), (9, "GFLOP"), (6, "MFLOP"))
SITES_SHOWN = 4


def as_table(plan: Plan, machines: int) -> Table:
    """The numbers of a plan, for one machine and for several.

    Args:
        plan: The plan.
        machines: Among how many the work is shared.
    """
    table = Table(title=f"What interp {plan.command} would cost", title_justify="left")
    table.add_column("")
    table.add_column("in all" if machines > 1 else "", justify="right")
    rows = _rows(plan)
    if machines > 1:
        table.add_column(f"busiest of {machines}", justify="right")
        busiest = _busiest(plan, machines)
        for name, text in rows:
            table.add_row(name, text, busiest.get(name, ""))
    else:
        for name, text in rows:
            table.add_row(name, text)
    return table


def _rows(plan: Plan) -> list[tuple[str, str]]:
    done = len(plan.parts) - len(plan.todo)
    left = plan.busiest(1) if plan.todo else together([])
    rows = [
        ("examples", f"{plan.examples:,}"),
        ("tokens", f"{plan.tokens:,}"),
        ("tokens computed", f"{plan.total('tokens'):,}"),
        ("forward passes", f"{plan.total('passes'):,}"),
        ("parameters used by a token", f"{plan.parameters:,}"),
        ("FLOPs", _flops(plan.total("flops"))),
        (plan.parts_are.partition(",")[0], f"{len(plan.parts):,} ({done:,} done)"),
    ]
    if done:
        rows.append(("tokens left to compute", f"{left.tokens:,}"))
        rows.append(("FLOPs left", _flops(left.flops)))
    if plan.token_layers is not None:
        ours, naive = plan.token_layers
        rows.append(("token-layers of patching", f"{ours:,}"))
        rows.append(("a whole pass per cell", f"{naive:,}"))
    for site, n_bytes in list(plan.sites.items())[:SITES_SHOWN]:
        rows.append((f"  {site}", size(n_bytes)))
    if len(plan.sites) > SITES_SHOWN:
        rows.append((f"  and {len(plan.sites) - SITES_SHOWN} sites more", ""))
    rows += [
        ("bytes to write", size(plan.write_bytes)),
        ("free there", size(plan.free_disk)),
        ("weights to read", size(_read(plan))),
        ("to download", size(plan.download_bytes)),
        ("peak memory", size(plan.memory.peak)),
        ("  weights", size(plan.memory.weights)),
        ("  a batch", size(plan.memory.batch)),
        ("  rows", size(plan.memory.rows)),
    ]
    free = plan.memory.free
    rows.append((f"free on {plan.memory.device}", "?" if free is None else size(free)))
    if plan.seconds is not None:
        rows.append(("time", _time(plan.seconds_on(1))))
    return rows


def _busiest(plan: Plan, machines: int) -> dict[str, str]:
    part = plan.busiest(machines)
    found = {
        "tokens computed": f"{part.tokens:,}",
        "forward passes": f"{part.passes:,}",
        "FLOPs": _flops(part.flops),
        "bytes to write": size(part.n_bytes),
        "weights to read": size(plan.read_bytes + part.reads),
        plan.parts_are.partition(",")[0]: f"{plan.used(machines)} machines busy",
    }
    if plan.seconds is not None:
        found["time"] = _time(plan.seconds_on(machines))
    return found


def sentences(plan: Plan, machines: int) -> list[str]:
    """What is an estimate, what else to know, and whether it fits.

    Args:
        plan: The plan.
        machines: Among how many the work is shared.
    """
    found = [f"Estimate: {text}" for text in plan.estimates]
    found += plan.notes
    if machines > plan.used(machines) and plan.todo:
        found.append(
            f"{plan.used(machines)} of {machines} machines have work: parts are"
            f" {plan.parts_are}."
        )
    if plan.seconds is not None:
        found.append(
            f"Times are from {plan.seconds.batches} real batches on this machine"
            f" ({plan.seconds.a_token * 1e6:.1f} microseconds a token) and"
            f" {plan.seconds.loading:.1f} s of loading."
        )
    return [*found, *(f"Does not fit: {text}" for text in plan.refusals())]


def as_json(plan: Plan, machines: int) -> dict[str, object]:
    """A plan as plain values.

    Args:
        plan: The plan.
        machines: Among how many the work is shared.
    """
    busiest = plan.busiest(machines)
    refusals = plan.refusals()
    seconds = plan.seconds
    return {
        "ok": not refusals,
        "fits": not refusals,
        "command": plan.command,
        "models": list(plan.models),
        "machines": machines,
        "examples": plan.examples,
        "tokens": plan.tokens,
        "tokens_computed": plan.total("tokens"),
        "forward_passes": plan.total("passes"),
        "parameters_used": plan.parameters,
        "flops": plan.total("flops"),
        "parts": len(plan.parts),
        "parts_done": len(plan.parts) - len(plan.todo),
        "token_layers": None if plan.token_layers is None else plan.token_layers[0],
        "naive_token_layers": None
        if plan.token_layers is None
        else plan.token_layers[1],
        "bytes": {
            "sites": dict(plan.sites),
            "written": plan.total("n_bytes"),
            "to_write": plan.write_bytes,
            "free": plan.free_disk,
            "to_read": _read(plan),
            "to_download": plan.download_bytes,
        },
        "memory": {"peak": plan.memory.peak, **asdict(plan.memory)},
        "busiest_machine": {
            "tokens_computed": busiest.tokens,
            "forward_passes": busiest.passes,
            "flops": busiest.flops,
            "to_write": busiest.n_bytes,
            "seconds": plan.seconds_on(machines),
        },
        "machines_used": plan.used(machines),
        "seconds": plan.seconds_on(1),
        "seconds_a_token": None if seconds is None else seconds.a_token,
        "estimates": list(plan.estimates),
        "notes": list(plan.notes),
        "refusals": list(refusals),
    }


def _read(plan: Plan) -> int:
    return plan.read_bytes + sum(part.reads for part in plan.todo)


def _flops(n: int) -> str:
    """FLOPs for people.

    Example:
        >>> _flops(2_500_000_000)
        '2.5 GFLOP'
    """
    for power, unit in FLOPS:
        if n >= 10**power:
            return f"{n / 10**power:.1f} {unit}"
    return f"{n:,} FLOP"


def _time(seconds: float | None) -> str:
    """Seconds for people.

    Example:
        >>> _time(3.25), _time(400.0), _time(9000.0)
        ('3.2 s', '6.7 min', '2.5 h')
    """
    if seconds is None:
        return ""
    for length, unit in ((3600, "h"), (60, "min")):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"
