"""A tiny model directory: enough for Dynamo's frontend to tokenize, template and detokenize.

No weights. Token ``n`` is the word ``n`` in decimal, words are split at white space and joined by one space, so
text and token ids can be read from each other: ``"7 8 9"`` is ``[7, 8, 9]``. Any other word is token 0.
"""

import json
import os
from pathlib import Path

TINY_MODEL = "tiny-model"
"""Name by which graphs ask for this model; platform `local` puts its directory in place of the name."""

VOCABULARY_SIZE = 8192
"""Number of tokens. The mocker emits ids up to about 2,000; ids outside the vocabulary come back as null text."""

UNKNOWN, START, END = 0, 1, 2
FIRST_WORD = 10
"""Ids below this one are special or unused; the position engine emits the others."""

CONTEXT_LENGTH = 131072
_CHAT_TEMPLATE = "{% for message in messages %}{{ message['content'] }} {% endfor %}"


def write_tiny_model(directory: Path) -> Path:
    """Write the model into `directory` (made when missing) and return it. Files that are there already are kept."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in _files().items():
        target = directory / name
        if not target.exists():
            partial = target.with_suffix(f".{os.getpid()}.part")
            partial.write_text(json.dumps(content, indent=1), encoding="utf-8")
            partial.replace(target)  # at once, since other runs may read it
    return directory


def _files() -> dict[str, object]:
    special = {UNKNOWN: "<unk>", START: "<s>", END: "</s>"}
    as_it_stands = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    words = {special.get(token, str(token)): token for token in range(VOCABULARY_SIZE)}
    return {
        "config.json": {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": VOCABULARY_SIZE,
            "max_position_embeddings": CONTEXT_LENGTH,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "torch_dtype": "bfloat16",
            "bos_token_id": START,
            "eos_token_id": END,
        },
        "generation_config.json": {"bos_token_id": START, "eos_token_id": END},
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": CONTEXT_LENGTH,
            "unk_token": special[UNKNOWN],
            "bos_token": special[START],
            "eos_token": special[END],
            "chat_template": _CHAT_TEMPLATE,
        },
        "tokenizer.json": {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [
                {"id": token, "content": content, "special": True, **as_it_stands} for token, content in special.items()
            ],
            "normalizer": None,
            "pre_tokenizer": {"type": "WhitespaceSplit"},
            "post_processor": None,
            "decoder": None,
            "model": {"type": "WordLevel", "vocab": words, "unk_token": special[UNKNOWN]},
        },
    }
