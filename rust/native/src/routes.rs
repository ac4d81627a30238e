//! Routes of messages as Python sees them: a type and two names, most of which were seen a moment ago.
//!
//! A tuple with two texts takes longer to make than finding the one that was made before, and many messages go the
//! same way. Each thread remembers some of its own, so nobody waits for anybody.

use std::cell::RefCell;

use pyo3::prelude::*;
use pyo3::types::PyTuple;
use tekton_kernel::message::Kind;

use crate::{message_type, objects};

/// How many routes a thread remembers: a power of two. One that falls on the place of another takes it.
const MOST: usize = 64;

/// Longer names are not remembered.
const LONGEST: usize = 64;

struct Known {
    kind: Kind,
    sender: Box<[u8]>,
    recipient: Box<[u8]>,
    route: Py<PyTuple>,
}

thread_local! {
    static KNOWN: RefCell<[Option<Known>; MOST]> = const { RefCell::new([const { None }; MOST]) };
}

/// The type, who sends it, and who is to have it: None when that is empty.
pub fn tuple<'py>(
    py: Python<'py>,
    kind: Kind,
    sender: &[u8],
    recipient: &[u8],
) -> PyResult<Bound<'py, PyTuple>> {
    let place = place(kind, sender, recipient);
    let found = KNOWN.with_borrow(|known| match &known[place] {
        Some(one) if one.kind == kind && *one.sender == *sender && *one.recipient == *recipient => {
            Some(one.route.bind(py).clone())
        }
        _ => None,
    });
    match found {
        Some(route) => Ok(route),
        None => fresh(py, place, kind, sender, recipient),
    }
}

#[cold]
fn fresh<'py>(
    py: Python<'py>,
    place: usize,
    kind: Kind,
    sender: &[u8],
    recipient: &[u8],
) -> PyResult<Bound<'py, PyTuple>> {
    let name = objects::utf8(py, sender)?.into_any();
    let other = match recipient {
        [] => py.None().into_bound(py),
        name => objects::utf8(py, name)?.into_any(),
    };
    let route = objects::triple(&message_type::member(py, kind)?, &name, &other)?;
    if sender.len().max(recipient.len()) <= LONGEST {
        let one =
            Known { kind, sender: sender.into(), recipient: recipient.into(), route: route.clone().unbind() };
        // What was there is dropped when nobody looks at the others any more.
        let _before = KNOWN.with_borrow_mut(|known| known[place].replace(one));
    }
    Ok(route)
}

fn place(kind: Kind, sender: &[u8], recipient: &[u8]) -> usize {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let print = (edges(sender) ^ edges(recipient).rotate_left(29) ^ kind as u64).wrapping_mul(ODD);
    usize::try_from(print >> 58).unwrap_or_default()
}

/// The first and the last bytes of a name, and how long it is.
fn edges(name: &[u8]) -> u64 {
    let (first, last) = match (name.first_chunk::<4>(), name.last_chunk::<4>()) {
        (Some(first), Some(last)) => (u32::from_le_bytes(*first), u32::from_le_bytes(*last)),
        _ => (0, name.iter().fold(0, |value, byte| value << 8 | u32::from(*byte))),
    };
    (u64::from(first) << 32 | u64::from(last)) ^ name.len() as u64
}
