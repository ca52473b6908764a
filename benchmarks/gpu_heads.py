"""Attention scores of all heads beside a forward pass with eager attention."""

import torch
from gpu_setting import Method, Row, Setting, rates

import interp


SEQUENCES = 64


def heads_part(setting: Setting) -> list[Row]:
    """Scores with their intervals, beside patterns that are thrown away."""
    model = setting.model
    n = setting.scaled(SEQUENCES, least=2)
    sequences = interp.heads.repeated_tokens(model, n_sequences=n, seed=0)
    ids = torch.tensor(sequences.ids.tolist(), device=model.device)

    def eager() -> None:
        before = model.hf.config._attn_implementation
        model.hf.set_attn_implementation("eager")
        try:
            with torch.inference_mode():
                for batch in ids.split(8):
                    model.hf(batch, use_cache=False, output_attentions=True)
        finally:
            model.hf.set_attn_implementation(before)

    methods: dict[str, Method] = {
        "eager": eager,
        "interp": lambda: interp.heads.score(model, sequences, resamples=20),
    }
    found = rates(methods, setting)
    return [
        Row(
            part="heads",
            what=f"interp.heads.score, {len(ids)} sequences of {ids.shape[1]} tokens",
            beside="a forward with output_attentions (8 at a time, thrown away)",
            rate=found.by_name["interp"],
            rounds=found.rounds,
        )
    ]
