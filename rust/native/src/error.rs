//! The one road from kernel errors to Python exceptions.

use pyo3::PyErr;
use pyo3::exceptions::{PyIndexError, PyOverflowError, PyValueError};
use tekton_kernel::graph::TooLarge;
use tekton_kernel::lifecycle::State;
use tekton_kernel::table::{AddError, TransitionError};
use tekton_kernel::uuid;

pyo3::import_exception!(tekton.utils.tekton_errors, ComponentExistsError);
pyo3::import_exception!(tekton.utils.tekton_errors, IllegalTransitionError);
pyo3::import_exception!(tekton.utils.tekton_errors, StaleInstanceError);

/// The refusal to add `instance` to `component_id`.
pub fn add(error: AddError, component_id: &str, instance: &str) -> PyErr {
    match error {
        AddError::Present => PyValueError::new_err(format!("{component_id} {instance} is in the table")),
        AddError::Full(holder) => {
            ComponentExistsError::new_err((component_id.to_owned(), uuid::format(holder)))
        }
    }
}

/// The refusal to move `instance` of `component_id` to `next`.
pub fn transition(error: TransitionError, component_id: &str, instance: &str, next: State) -> PyErr {
    match error {
        TransitionError::Unknown => {
            StaleInstanceError::new_err((component_id.to_owned(), instance.to_owned()))
        }
        TransitionError::Illegal(current) => {
            let legal: Vec<&str> = current.successors().map(State::name).collect();
            IllegalTransitionError::new_err((component_id.to_owned(), current.name(), next.name(), legal))
        }
    }
}

/// `slot` is not in use.
pub fn no_slot(slot: u32) -> PyErr {
    PyIndexError::new_err(format!("slot {slot} is not in use"))
}

/// `code` is not the index of a state.
pub fn no_state(code: u8) -> PyErr {
    PyValueError::new_err(format!("{code} is not the index of a state"))
}

/// `text` is not an instance id.
pub fn no_uuid(text: &str) -> PyErr {
    PyValueError::new_err(format!("{text:?} is not a UUID"))
}

/// The graph does not fit.
pub fn too_large(_: TooLarge) -> PyErr {
    PyOverflowError::new_err("a graph holds fewer than 2**32 - 1 nodes and 2**32 edges")
}
