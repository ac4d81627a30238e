//! Python objects whose allocation may fail: `MemoryError` then.
//!
//! `PyO3`'s own constructors of lists, tuples, dicts, numbers and texts panic when the interpreter has no memory
//! left, and a panic is reported with objects too.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyInt, PyList, PyString, PyTuple};

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

/// A tuple of three.
pub fn triple<'py>(
    first: &Bound<'py, PyAny>,
    second: &Bound<'py, PyAny>,
    third: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyTuple>> {
    // SAFETY: the call takes new references to three objects, and gives an owned one to a tuple, or none and an
    // exception.
    unsafe {
        let tuple = ffi::PyTuple_Pack(3, first.as_ptr(), second.as_ptr(), third.as_ptr());
        Ok(Bound::from_owned_ptr_or_err(first.py(), tuple)?.cast_into_unchecked())
    }
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
    utf8(py, text.as_bytes())
}

/// A text of these bytes, `UnicodeDecodeError` when they are not UTF-8.
pub fn utf8<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyString>> {
    let length = size(bytes.len())?;
    // SAFETY: there are `length` bytes. The call gives an owned reference to a str, or none and an exception.
    unsafe {
        let text = ffi::PyUnicode_FromStringAndSize(bytes.as_ptr().cast(), length);
        Ok(Bound::from_owned_ptr_or_err(py, text)?.cast_into_unchecked())
    }
}

/// Bytes.
pub fn bytes<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    let length = size(bytes.len())?;
    // SAFETY: there are `length` bytes. The call gives an owned reference to a bytes object, or none and an exception.
    unsafe {
        let bytes = ffi::PyBytes_FromStringAndSize(bytes.as_ptr().cast(), length);
        Ok(Bound::from_owned_ptr_or_err(py, bytes)?.cast_into_unchecked())
    }
}

/// Bytes that are these pieces, one after another.
pub fn concatenated<'py>(py: Python<'py>, pieces: &[&[u8]]) -> PyResult<Bound<'py, PyBytes>> {
    let length = size(pieces.iter().map(|piece| piece.len()).sum())?;
    // SAFETY: the call gives an owned reference to a bytes object of this length, unfilled, or none and an exception.
    // Nobody else knows it until it is filled, and the pieces together have this length.
    unsafe {
        let bytes =
            Bound::from_owned_ptr_or_err(py, ffi::PyBytes_FromStringAndSize(std::ptr::null(), length))?;
        let mut place = ffi::PyBytes_AsString(bytes.as_ptr()).cast::<u8>();
        for piece in pieces {
            place.copy_from_nonoverlapping(piece.as_ptr(), piece.len());
            place = place.add(piece.len());
        }
        Ok(bytes.cast_into_unchecked())
    }
}

/// What `function` gives for `argument`, without a tuple of arguments in between.
pub fn call<'py>(function: &Bound<'py, PyAny>, argument: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: the arguments are valid, and end with a null. The call gives an owned reference, or none and an exception.
    unsafe {
        let end = std::ptr::null_mut::<ffi::PyObject>();
        let result = ffi::PyObject_CallFunctionObjArgs(function.as_ptr(), argument.as_ptr(), end);
        Bound::from_owned_ptr_or_err(function.py(), result)
    }
}

/// A float.
pub fn float(py: Python<'_>, number: f64) -> PyResult<Bound<'_, PyAny>> {
    // SAFETY: the call gives an owned reference to a float, or none and an exception.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyFloat_FromDouble(number)) }
}

fn size(length: usize) -> PyResult<ffi::Py_ssize_t> {
    Ok(ffi::Py_ssize_t::try_from(length)?)
}
