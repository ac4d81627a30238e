//! The one road from kernel errors to Python exceptions.

use pyo3::PyTypeInfo;
use pyo3::exceptions::{PyIndexError, PyOverflowError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple, PyType};
use tekton_kernel::envelope;
use tekton_kernel::graph::TooLarge;
use tekton_kernel::lifecycle::State;
use tekton_kernel::message::{Fault, Problem};
use tekton_kernel::subject::{Invalid, MAX_BYTES};
use tekton_kernel::table::{AddError, TransitionError};
use tekton_kernel::uuid;

use crate::objects;

pyo3::import_exception!(tekton.utils.tekton_errors, ComponentExistsError);
pyo3::import_exception!(tekton.utils.tekton_errors, IllegalTransitionError);
pyo3::import_exception!(tekton.utils.tekton_errors, InvalidMessageError);
pyo3::import_exception!(tekton.utils.tekton_errors, InvalidSubjectError);
pyo3::import_exception!(tekton.utils.tekton_errors, MalformedMessageError);
pyo3::import_exception!(tekton.utils.tekton_errors, MessageExpiredError);
pyo3::import_exception!(tekton.utils.tekton_errors, MessageTooLargeError);
pyo3::import_exception!(tekton.utils.tekton_errors, StaleInstanceError);
pyo3::import_exception!(tekton.utils.tekton_errors, TooManyHopsError);

/// The refusal to add `instance` to `component_id`.
pub fn add(py: Python<'_>, error: AddError, component_id: &str, instance: &str) -> PyErr {
    match error {
        AddError::Present => {
            with_message::<PyValueError>(&format!("{component_id} {instance} is in the table"))
        }
        AddError::Full(holder) => {
            let holder = uuid::format(holder);
            make(&py.get_type::<ComponentExistsError>(), &[component_id, &holder], None)
        }
    }
}

/// The refusal to move `instance` of `component_id` to `next`.
pub fn transition(
    py: Python<'_>,
    error: TransitionError,
    component_id: &str,
    instance: &str,
    next: State,
) -> PyErr {
    match error {
        TransitionError::Unknown => {
            make(&py.get_type::<StaleInstanceError>(), &[component_id, instance], None)
        }
        TransitionError::Illegal(current) => {
            let legal: Vec<&str> = current.successors().map(State::name).collect();
            let kind = py.get_type::<IllegalTransitionError>();
            make(&kind, &[component_id, current.name(), next.name()], Some(&legal))
        }
    }
}

/// An exception whose arguments are texts and, if there is one, a list of texts. Made here and not, by `PyO3`, when it
/// is raised: without memory that aborts the process.
fn make(kind: &Bound<'_, PyType>, texts: &[&str], last: Option<&[&str]>) -> PyErr {
    match arguments(kind.py(), texts, last).and_then(|arguments| kind.call1(arguments)) {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}

/// An exception with nothing but a message.
pub fn with_message<T: PyTypeInfo>(message: &str) -> PyErr {
    Python::attach(|py| make(&py.get_type::<T>(), &[message], None))
}

fn arguments<'py>(py: Python<'py>, texts: &[&str], last: Option<&[&str]>) -> PyResult<Bound<'py, PyTuple>> {
    let text = |text: &&str| objects::text(py, text).map(Bound::into_any);
    let mut arguments = texts.iter().map(text).collect::<PyResult<Vec<_>>>()?;
    if let Some(texts) = last {
        arguments.push(objects::list(py, texts.iter().map(text))?.into_any());
    }
    objects::tuple(py, arguments.into_iter().map(Ok))
}

/// `slot` is not in use.
pub fn no_slot(slot: u32) -> PyErr {
    with_message::<PyIndexError>(&format!("slot {slot} is not in use"))
}

/// `code` is not the index of a state.
pub fn no_state(code: u8) -> PyErr {
    with_message::<PyValueError>(&format!("{code} is not the index of a state"))
}

/// `text` is not an instance id.
pub fn no_uuid(text: &str) -> PyErr {
    with_message::<PyValueError>(&format!("{text:?} is not a UUID"))
}

/// `text` is no subject, or no pattern: `kind` says which.
pub fn no_subject(kind: &str, text: &str, cause: Invalid) -> PyErr {
    // As much of it as could have been valid.
    let shown: String = text.chars().take(MAX_BYTES).collect();
    with_message::<PyValueError>(&format!("{shown:?} is not a {kind}: {cause}"))
}

/// The graph does not fit.
pub fn too_large(_: TooLarge) -> PyErr {
    with_message::<PyOverflowError>("a graph holds fewer than 2**32 - 1 nodes and 2**32 edges")
}

/// The refusal of a message: of its JSON, or of what that says. The fault was at `place` of what was received.
#[cold]
pub fn message(py: Python<'_>, fault: Fault, text: &[u8], place: usize) -> PyErr {
    let pointer = match fault.problem {
        Problem::Missing(pointer) | Problem::Invalid(pointer, _) => pointer.to_owned(),
        Problem::Unknown(object) => format!("{object}{}", name_at(text, fault.at)),
        problem => return malformed(py, place, &problem.to_string()),
    };
    invalid(py, &pointer, &fault.problem.to_string())
}

/// The refusal of the member `pointer` of a message.
#[cold]
pub fn invalid(py: Python<'_>, pointer: &str, problem: &str) -> PyErr {
    make(&py.get_type::<InvalidMessageError>(), &[pointer, problem], None)
}

/// The refusal of a batch of envelopes.
#[cold]
pub fn batch(py: Python<'_>, fault: envelope::Fault) -> PyErr {
    malformed(py, fault.at, &fault.problem.to_string())
}

/// The refusal to send `text` as the subject of an envelope, or as what else is in its head.
#[cold]
pub fn head(py: Python<'_>, text: &str, problem: envelope::Problem) -> PyErr {
    make(&py.get_type::<InvalidSubjectError>(), &[text, &problem.to_string()], None)
}

/// A message of `size` bytes is larger than the `limit`.
#[cold]
pub fn message_too_large(py: Python<'_>, size: usize, limit: usize) -> PyErr {
    above(&py.get_type::<MessageTooLargeError>(), size as u64, limit as u64)
}

/// A message was caused by `hops` others, more than the `limit`.
#[cold]
pub fn too_many_hops(py: Python<'_>, hops: u16, limit: u8) -> PyErr {
    above(&py.get_type::<TooManyHopsError>(), hops.into(), limit.into())
}

/// The message `id` is too late.
#[cold]
pub fn expired(py: Python<'_>, id: u128) -> PyErr {
    make(&py.get_type::<MessageExpiredError>(), &[&uuid::format(id)], None)
}

/// `text` is nothing that an answer could go to.
#[cold]
pub fn no_reply(text: &Bound<'_, PyString>) -> PyErr {
    let problem = objects::text(text.py(), "is no subject to reply to").map(Bound::into_any);
    let made = objects::tuple(text.py(), [Ok(text.clone().into_any()), problem].into_iter())
        .and_then(|arguments| text.py().get_type::<InvalidSubjectError>().call1(arguments));
    made.map_or_else(|error| error, PyErr::from_value)
}

/// An exception of two numbers: what there is, and what may be.
fn above(kind: &Bound<'_, PyType>, seen: u64, limit: u64) -> PyErr {
    let numbers = [seen, limit].map(|number| objects::int(kind.py(), number));
    let made = objects::tuple(kind.py(), numbers.into_iter()).and_then(|numbers| kind.call1(numbers));
    made.map_or_else(|error| error, PyErr::from_value)
}

/// A batch of `count` envelopes has more than the `limit`.
#[cold]
pub fn too_many(py: Python<'_>, count: usize, limit: usize) -> PyErr {
    malformed(py, 12, &format!("{count} envelopes, where {limit} are allowed"))
}

fn malformed(py: Python<'_>, at: usize, problem: &str) -> PyErr {
    let made = objects::text(py, problem).and_then(|problem| {
        let arguments = [Ok(problem.into_any()), objects::int(py, at as u64).map(Bound::into_any)];
        py.get_type::<MalformedMessageError>().call1(objects::tuple(py, arguments.into_iter())?)
    });
    made.map_or_else(|error| error, PyErr::from_value)
}

/// The name in quotes that begins at `at`, or as much of it as one wants to read.
fn name_at(text: &[u8], at: usize) -> String {
    let name = text.get(at + 1..).unwrap_or_default();
    let length = name.iter().position(|byte| *byte == b'"').unwrap_or(name.len()).min(64);
    String::from_utf8_lossy(&name[..length]).into_owned()
}

/// `name` cannot have the value that was given for it.
pub fn not_acceptable(name: &str, problem: &str) -> PyErr {
    with_message::<PyValueError>(&format!("{name} must be {problem}"))
}
