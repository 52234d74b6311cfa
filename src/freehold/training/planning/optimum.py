"""How many parameters and tokens a budget of computing is best spent on.

From Hoffmann et al., "Training Compute-Optimal Large Language Models" (arXiv 2203.15556). With C = 6 N D operations for
N parameters and D tokens, and the loss in nats a token

    L(N, D) = E + A / N^a + B / D^b                                    (their equation 10)

the least loss has N = G (C / 6)^(b / (a + b)) and D = C / (6 N), where G = (a A / (b B))^(1 / (a + b)) (equation 4).

Their three ways of fitting do not agree: the first two come near to 20 tokens a parameter at every size, the third
asks for fewer parameters and more tokens. Besiroglu et al. (arXiv 2404.10102) fitted the third again to the same
points, and came back to about 20. So `ratio` (D = 20 N) is what a plan follows unless told otherwise; the others stand
beside it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Final

TOKENS_A_PARAMETER: Final = 20
RATIO: Final = "ratio"


@dataclass(frozen=True, slots=True)
class Law:
    """The loss as a function of parameters and tokens; the letters are those of the module's docstring."""

    irreducible: float
    a_factor: float
    a_power: float
    b_factor: float
    b_power: float
    source: str

    def loss(self, parameters: float, tokens: float) -> float:
        """Nats a token that remain, on the text of the paper."""
        return self.irreducible + self.a_factor / parameters**self.a_power + self.b_factor / tokens**self.b_power

    def parameters(self, flops: float) -> float:
        """The number that gives the least loss."""
        total = self.a_power + self.b_power
        balance = (self.a_power * self.a_factor / (self.b_power * self.b_factor)) ** (1 / total)
        return balance * (flops / 6) ** (self.b_power / total)


LAWS: Final[Mapping[str, Law]] = {
    "approach3": Law(1.69, 406.4, 0.34, 410.7, 0.28, "Hoffmann et al., arXiv 2203.15556, equation 10"),
    "refit": Law(1.8172, 482.01, 0.3478, 2085.43, 0.3658, "Besiroglu et al., arXiv 2404.10102"),
}
SOURCES: Final[Mapping[str, str]] = {
    RATIO: f"{TOKENS_A_PARAMETER} tokens a parameter, as approaches 1 and 2 of arXiv 2203.15556 find",
    **{name: law.source for name, law in LAWS.items()},
}


@dataclass(frozen=True, slots=True)
class Optimum:
    """What one law says to a budget.

    Args:
        law: its name, one of `SOURCES`.
        parameters: of the model.
        tokens: that it is to see.
        loss: nats a token that the law of the new fit expects of them, so that the laws can be compared.
    """

    law: str
    parameters: float
    tokens: float
    loss: float


def optimum(flops: float, law: str) -> Optimum:
    """The best size and number of tokens for so many operations."""
    parameters = sqrt(flops / (6 * TOKENS_A_PARAMETER)) if law == RATIO else LAWS[law].parameters(flops)
    tokens = flops / (6 * parameters)
    return Optimum(law, parameters, tokens, LAWS["refit"].loss(parameters, tokens))
