"""Errors of clients in the words of Flower and Ray, built with their own exceptions."""

from __future__ import annotations

from flwr.clientapp.client_app import ClientAppException
from ray.core.generated.common_pb2 import ActorDiedErrorContext
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayTaskError

from ngpd_fl.flower.server.flower_errors import dead_process, shortened_reason

ID = bytes.fromhex("ab" * 16)


def reason_of(error: Exception) -> str:
    """Return the reason that Flower's simulation and SuperNode make of an exception."""
    return str(type(error)) + ":<'" + str(error) + "'>"


def test_the_message_of_an_exception_is_found_behind_the_stack_of_a_simulation() -> None:
    raised = ClientAppException("nobody\ncan")
    task = RayTaskError("run", f"Traceback (most recent call last):\n  File ...\n{raised}", raised)
    for error in (raised, task.as_instanceof_cause()):
        assert shortened_reason(reason_of(error)) == "nobody can"


def test_the_message_of_an_exception_is_found_without_its_class_on_a_supernode() -> None:
    assert shortened_reason(reason_of(ZeroDivisionError("division by zero"))) == "division by zero"


def test_any_other_reason_is_one_short_line() -> None:
    assert shortened_reason("a\nb") == "a b"
    assert len(shortened_reason("word " * 1000)) == 300


def test_the_id_of_a_dead_process_is_found() -> None:
    context = ActorDiedErrorContext(error_message="killed", actor_id=ID, class_name="ClientAppActor")
    for error in (ActorDiedError(context), ActorUnavailableError("no connection", ID)):
        assert dead_process(reason_of(error)) == ID.hex()
    assert dead_process(reason_of(ValueError("actor_id: 12"))) is None
