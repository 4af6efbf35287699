"""The papers' numbers against a second transcription, and every rule on tables made to meet and to miss it."""
from importlib import import_module
from pkgutil import iter_modules

import pandas as pd

from posenc_lib import claims
from posenc_lib.claims import claim as paper
from posenc_lib.run.config import PROJECT

MODULES = [import_module(f"{claims.__name__}.{module.name}") for module in iter_modules(claims.__path__)]
CLAIMS = [c for module in MODULES for c in vars(module).values() if isinstance(c, paper.Claim)]


def test_claims_have_names_of_their_own():
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS) >= 4
    assert all(claim.statement and claim.source and claim.control and claim.page for claim in CLAIMS)


def test_a_single_seed_is_not_judged_on_a_substitute():
    table = pd.DataFrame({"n": [3, 1]})
    large = paper.Scale(dict.fromkeys(paper.QUANTITIES, 1e9), "digits for CIFAR-10")
    for claim in claims.CLAIMS:
        assert claim.verdict(table, large) == (paper.NOT_TESTABLE, "one seed has no interval; run at least two")


def test_every_claim_is_on_the_list_and_has_a_page_in_the_order_of_the_pages():
    assert sorted(c.id for c in claims.CLAIMS) == sorted(c.id for c in CLAIMS)
    pages = [claim.page for claim in claims.CLAIMS]
    assert pages == sorted(pages)
    for name in pages:
        assert (PROJECT / "notebooks" / f"{name}.py").is_file()
