"""Configuration of classic GLM (base to 10B), under the keys of the published config.json files.

Annotations are not postponed here: `strict` checks values against real types only.
"""

from typing import Any, ClassVar, Literal

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig


@strict
class ClassicGlmConfig(PreTrainedConfig):  # type: ignore[misc]
    """Sizes and settings of a classic GLM; the defaults are GLM-large's.

    `model_type` is a name of our own: the published "glm" means GLM-4 to transformers, which would
    read a saved folder as the wrong architecture. Published keys that change nothing here
    (`checkpoint_activations`, `parallel_output`, ...) are kept and written again.

    Attributes:
        max_sequence_length: tokens of a text; both position tables have one row more.
        hidden_act: "gelu" (exact, as in the published Hugging Face file) or "gelu_pytorch_tanh"
            (the form of the original training code).
        attention_scale: above 1 the published code divides scores by it before the softmax and
            multiplies again behind the subtraction of the maximum. It guards fp16 against overflow
            and changes no result, so nothing is done with it here.
        output_predict: make the logits of the vocabulary unless a call says otherwise.
        relative_encoding, block_position_encoding: other settings than the defaults are refused.
    """

    model_type: ClassVar[str] = "glm_classic"
    attribute_map: ClassVar[dict[str, str]] = {
        "num_hidden_layers": "num_layers",
        "max_position_embeddings": "max_sequence_length",
    }

    num_layers: int = 24
    vocab_size: int = 30592
    hidden_size: int = 1024
    num_attention_heads: int = 16
    max_sequence_length: int = 512
    embedding_dropout_prob: float | int = 0.1
    attention_dropout_prob: float | int = 0.1
    output_dropout_prob: float | int = 0.1
    layernorm_epsilon: float | int = 1e-5
    hidden_act: Literal["gelu", "gelu_pytorch_tanh"] = "gelu"
    attention_scale: float | int = 1.0
    initializer_range: float | int = 0.02
    output_predict: bool = True
    relative_encoding: bool = False
    block_position_encoding: bool = True

    def __post_init__(self, **kwargs: Any) -> None:
        """Take what is no field; `auto_map` names code that is never run nor saved along."""
        kwargs.pop("auto_map", None)
        super().__post_init__(**kwargs)
