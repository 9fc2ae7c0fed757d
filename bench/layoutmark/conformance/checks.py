"""All checks by name, in the order in which they run."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator

from layoutmark.conformance import card_checks, image_checks, side_effect_checks
from layoutmark.conformance.candidate import Candidate, NotApplicableError
from layoutmark.conformance.input_checks import CHANGES, input_check
from layoutmark.conformance.verdict import Verdict, failed, not_applicable
from layoutmark.errors import LayoutmarkError

Check = Callable[[Candidate], Verdict]

FUNCTIONS: tuple[Check, ...] = (
    card_checks.readme_exists,
    card_checks.deviations_are_declared,
    card_checks.weights_licence_is_named,
    card_checks.every_setting_is_read,
    card_checks.unknown_settings_are_refused,
    card_checks.wrong_types_are_refused,
    image_checks.applicable_returns_none_or_a_reason,
    image_checks.images_have_the_right_format,
    image_checks.notes_for_every_image,
    image_checks.same_seed_same_image,
    image_checks.different_seed_different_image,
    image_checks.batch_and_order_do_not_matter,
    image_checks.no_instances,
    image_checks.one_instance,
    image_checks.thirty_instances,
    image_checks.overlapping_boxes,
    image_checks.tiny_boxes,
    image_checks.missing_references,
    side_effect_checks.stack_is_restored_after_a_call,
    side_effect_checks.stack_is_restored_after_an_error,
    side_effect_checks.no_hooks_remain,
    side_effect_checks.weights_are_unchanged,
    side_effect_checks.no_gradients_remain,
    side_effect_checks.global_random_state_is_unchanged,
)
CHECKS: dict[str, Check] = {
    **{check.__name__: check for check in FUNCTIONS},
    **{f"{kind}_only_if_declared": input_check(kind) for kind in CHANGES},
}
"""Each name states a rule; the docstring of the check states it in full."""


def run_check(check: Check, candidate: Candidate) -> Verdict:
    """Run one check.  An exception from the method is a failure; a request it declares not applicable is not."""
    try:
        return check(candidate)
    except NotApplicableError as reason:
        return not_applicable(f"the method says: {reason}")
    except LayoutmarkError as error:
        return failed(str(error))
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        return failed(f"{type(error).__name__}: {error} ({frame.name}, line {frame.lineno})")


def check_method(candidate: Candidate) -> Iterator[tuple[str, Verdict]]:
    """Run every check of a method, in order."""
    for name, check in CHECKS.items():
        yield name, run_check(check, candidate)
