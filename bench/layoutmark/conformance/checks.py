"""All checks by name, in the order in which they are made."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator

from layoutmark.conformance import declared, leftovers, pictures
from layoutmark.conformance.inputs import CHANGES, input_check
from layoutmark.conformance.subject import Subject, Unwilling
from layoutmark.conformance.verdict import Verdict, failed, not_applicable
from layoutmark.errors import LayoutmarkError

Check = Callable[[Subject], Verdict]

FUNCTIONS: tuple[Check, ...] = (
    declared.readme_is_there,
    declared.deviations_are_declared,
    declared.licence_of_weights_is_named,
    declared.every_setting_is_read,
    declared.unknown_settings_are_refused,
    declared.wrong_types_are_refused,
    pictures.applicable_answers,
    pictures.images_have_the_right_form,
    pictures.notes_for_every_image,
    pictures.same_seed_same_picture,
    pictures.other_seed_other_picture,
    pictures.batch_and_order_do_not_matter,
    pictures.no_instances,
    pictures.one_instance,
    pictures.thirty_instances,
    pictures.overlapping_boxes,
    pictures.tiny_boxes,
    pictures.missing_references,
    leftovers.restored_after_a_call,
    leftovers.restored_after_an_error,
    leftovers.no_hooks_left,
    leftovers.weights_unchanged,
    leftovers.no_gradients_left,
    leftovers.random_state_untouched,
)
CHECKS: dict[str, Check] = {
    **{check.__name__: check for check in FUNCTIONS},
    **{f"{kind}_only_if_declared": input_check(kind) for kind in CHANGES},
}
"""Each name is a rule; the docstring of the check says it in full."""


def run_check(check: Check, subject: Subject) -> Verdict:
    """The verdict of one check; an error that the method raises is a failure, a refusal of the method is none."""
    try:
        return check(subject)
    except Unwilling as answer:
        return not_applicable(f"the method says: {answer}")
    except LayoutmarkError as error:
        return failed(str(error))
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return failed(f"{type(error).__name__}: {error} ({where.name}, line {where.lineno})")


def check_method(subject: Subject) -> Iterator[tuple[str, Verdict]]:
    """Every check of a method, one after the other."""
    for name, check in CHECKS.items():
        yield name, run_check(check, subject)
