//! Python objects whose allocation may fail: `MemoryError` then.
//!
//! `PyO3`'s own constructors of lists, tuples, dicts, numbers and texts panic when the interpreter has no memory
//! left, and a panic is reported with objects too.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyList, PyString, PyTuple};

/// A list of as many objects as `items` says it has.
///
/// `items` makes no containers: that could start a garbage collection, and finalizers that find a half-filled list.
pub fn list<'py, T>(
    py: Python<'py>,
    items: impl ExactSizeIterator<Item = PyResult<Bound<'py, T>>>,
) -> PyResult<Bound<'py, PyList>> {
    // SAFETY: the call gives an owned reference to a list, or none and an exception.
    let list = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyList_New(size(items.len())?))? };
    for (place, item) in (0..).zip(items) {
        // SAFETY: the list has this place, is known to nobody else, and takes over the reference.
        if unsafe { ffi::PyList_SetItem(list.as_ptr(), place, item?.into_ptr()) } != 0 {
            return Err(PyErr::fetch(py));
        }
    }
    // SAFETY: it is a list.
    Ok(unsafe { list.cast_into_unchecked() })
}

/// A tuple of as many objects as `items` says it has.
pub fn tuple<'py, T>(
    py: Python<'py>,
    items: impl ExactSizeIterator<Item = PyResult<Bound<'py, T>>>,
) -> PyResult<Bound<'py, PyTuple>> {
    // SAFETY: the call gives an owned reference to a tuple, or none and an exception.
    let tuple = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyTuple_New(size(items.len())?))? };
    for (place, item) in (0..).zip(items) {
        // SAFETY: the tuple has this place, is known to nobody else, and takes over the reference.
        if unsafe { ffi::PyTuple_SetItem(tuple.as_ptr(), place, item?.into_ptr()) } != 0 {
            return Err(PyErr::fetch(py));
        }
    }
    // SAFETY: it is a tuple.
    Ok(unsafe { tuple.cast_into_unchecked() })
}

/// A tuple of two.
pub fn pair<'py, T>(first: Bound<'py, T>, second: Bound<'py, T>) -> PyResult<Bound<'py, PyTuple>> {
    tuple(first.py(), [Ok(first), Ok(second)].into_iter())
}

/// An empty dict.
pub fn dict(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    // SAFETY: the call gives an owned reference to a dict, or none and an exception.
    unsafe { Ok(Bound::from_owned_ptr_or_err(py, ffi::PyDict_New())?.cast_into_unchecked()) }
}

/// A number.
pub fn int(py: Python<'_>, number: u64) -> PyResult<Bound<'_, PyInt>> {
    // SAFETY: the call gives an owned reference to an int, or none and an exception.
    unsafe {
        let number = ffi::PyLong_FromUnsignedLongLong(number);
        Ok(Bound::from_owned_ptr_or_err(py, number)?.cast_into_unchecked())
    }
}

/// A list of numbers.
pub fn ints<'py>(py: Python<'py>, numbers: &[u32]) -> PyResult<Bound<'py, PyList>> {
    list(py, numbers.iter().map(|number| int(py, u64::from(*number))))
}

/// A text.
pub fn text<'py>(py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyString>> {
    let length = size(text.len())?;
    // SAFETY: `text` has `length` bytes of UTF-8. The call gives an owned reference to a str, or none and an
    // exception.
    unsafe {
        let text = ffi::PyUnicode_FromStringAndSize(text.as_ptr().cast(), length);
        Ok(Bound::from_owned_ptr_or_err(py, text)?.cast_into_unchecked())
    }
}

fn size(length: usize) -> PyResult<ffi::Py_ssize_t> {
    Ok(ffi::Py_ssize_t::try_from(length)?)
}
