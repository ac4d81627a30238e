//! The one road from kernel errors to Python exceptions.

use pyo3::PyTypeInfo;
use pyo3::exceptions::{PyIndexError, PyOverflowError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};
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
pyo3::import_exception!(tekton.utils.tekton_errors, MalformedMessageError);
pyo3::import_exception!(tekton.utils.tekton_errors, StaleInstanceError);

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

/// The refusal of a message: of its JSON, or of what that says.
#[cold]
pub fn message(py: Python<'_>, fault: Fault, text: &[u8]) -> PyErr {
    let pointer = match fault.problem {
        Problem::Missing(pointer) | Problem::Invalid(pointer, _) => pointer.to_owned(),
        Problem::Unknown(object) => format!("{object}{}", name_at(text, fault.at)),
        problem => return malformed(py, fault.at, &problem.to_string()),
    };
    make(&py.get_type::<InvalidMessageError>(), &[&pointer, &fault.problem.to_string()], None)
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
