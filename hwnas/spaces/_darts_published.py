"""What was published of cells with DARTS's wiring: the sets of operators, and the reference network."""

_DARTS = (
    *("max_pool_3x3", "avg_pool_3x3", "skip_connect"),
    *("sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5"),
)
OPERATORS: dict[str, tuple[str, ...]] = {
    "darts": _DARTS,
    "snas": _DARTS,  # arXiv:1812.09926: DARTS's
    "enas": ("skip_connect", "sep_conv_3x3", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3"),  # arXiv:1802.03268
    "amoebanet": (  # arXiv:1802.01548, section 3.1: of NASNet's (arXiv:1707.07012)
        *("skip_connect", "sep_conv_3x3", "sep_conv_5x5", "sep_conv_7x7", "avg_pool_3x3", "max_pool_3x3"),
        *("dil_conv_3x3", "split_conv_7x7"),
    ),
}
Genotype = tuple[tuple[tuple[str, int], tuple[str, int]], ...]
"""Per node, two (operator, source)."""
DARTS_V2: dict[str, Genotype] = {
    "normal": (
        (("sep_conv_3x3", 0), ("sep_conv_3x3", 1)),
        (("sep_conv_3x3", 0), ("sep_conv_3x3", 1)),
        (("skip_connect", 0), ("sep_conv_3x3", 1)),
        (("skip_connect", 0), ("dil_conv_3x3", 2)),
    ),
    "reduction": (
        (("max_pool_3x3", 0), ("max_pool_3x3", 1)),
        (("max_pool_3x3", 1), ("skip_connect", 2)),
        (("max_pool_3x3", 0), ("skip_connect", 2)),
        (("max_pool_3x3", 1), ("skip_connect", 2)),
    ),
}
"""The cells of the paper's figures 4 and 5, second order: 2.76 % error on CIFAR-10 with 3.3 million parameters."""
