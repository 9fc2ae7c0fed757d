"""All checks by name, in the order in which they are made."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator

from layoutmark.conformance import card_checks, image_checks, side_effect_checks
from layoutmark.conformance.candidate import Candidate, Unwilling
from layoutmark.conformance.input_checks import CHANGES, input_check
from layoutmark.conformance.verdict import Verdict, failed, not_applicable
from layoutmark.errors import LayoutmarkError

Check = Callable[[Candidate], Verdict]

FUNCTIONS: tuple[Check, ...] = (
    card_checks.readme_is_there,
    card_checks.deviations_are_declared,
    card_checks.licence_of_weights_is_named,
    card_checks.every_setting_is_read,
    card_checks.unknown_settings_are_refused,
    card_checks.wrong_types_are_refused,
    image_checks.applicable_answers,
    image_checks.images_have_the_right_form,
    image_checks.notes_for_every_image,
    image_checks.same_seed_same_picture,
    image_checks.other_seed_other_picture,
    image_checks.batch_and_order_do_not_matter,
    image_checks.no_instances,
    image_checks.one_instance,
    image_checks.thirty_instances,
    image_checks.overlapping_boxes,
    image_checks.tiny_boxes,
    image_checks.missing_references,
    side_effect_checks.restored_after_a_call,
    side_effect_checks.restored_after_an_error,
    side_effect_checks.no_hooks_left,
    side_effect_checks.weights_unchanged,
    side_effect_checks.no_gradients_left,
    side_effect_checks.random_state_untouched,
)
CHECKS: dict[str, Check] = {
    **{check.__name__: check for check in FUNCTIONS},
    **{f"{kind}_only_if_declared": input_check(kind) for kind in CHANGES},
}
"""Each name is a rule; the docstring of the check says it in full."""


def run_check(check: Check, candidate: Candidate) -> Verdict:
    """The verdict of one check; an error that the method raises is a failure, a refusal of the method is none."""
    try:
        return check(candidate)
    except Unwilling as answer:
        return not_applicable(f"the method says: {answer}")
    except LayoutmarkError as error:
        return failed(str(error))
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return failed(f"{type(error).__name__}: {error} ({where.name}, line {where.lineno})")


def check_method(candidate: Candidate) -> Iterator[tuple[str, Verdict]]:
    """Every check of a method, one after the other."""
    for name, check in CHECKS.items():
        yield name, run_check(check, candidate)
