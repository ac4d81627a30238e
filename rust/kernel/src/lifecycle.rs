//! The lifecycle table: nine states and the transitions between them.
//!
//! The same table stands in `python/tekton/core/lifecycle.py`, whose import fails when the two differ.

/// A state of a component. The discriminant is the code used by the table, by Python and in bulk data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum State {
    /// Not heard of yet.
    Unknown,
    /// Registration accepted.
    Registering,
    /// Preparing itself.
    Initializing,
    /// On its way to ready.
    Starting,
    /// Usable.
    Ready,
    /// Usable with less than full function.
    Degraded,
    /// Ended by an error.
    Failed,
    /// On its way to stopped.
    Stopping,
    /// Ended in order.
    Stopped,
}

use State::{Degraded, Failed, Initializing, Ready, Registering, Starting, Stopped, Stopping, Unknown};

/// The states by code.
pub const STATES: [State; 9] =
    [Unknown, Registering, Initializing, Starting, Ready, Degraded, Failed, Stopping, Stopped];

/// Which states may follow, by code of the current state: bit `1 << code` of each successor.
pub const MASKS: [u16; 9] = [
    mask(&[Registering]),
    mask(&[Initializing, Failed]),
    mask(&[Starting, Failed]),
    mask(&[Ready, Degraded, Failed]),
    mask(&[Degraded, Stopping, Failed]),
    mask(&[Ready, Stopping, Failed]),
    mask(&[Initializing, Stopping]),
    mask(&[Stopped, Failed]),
    mask(&[Initializing]),
];

const fn mask(successors: &[State]) -> u16 {
    let mut bits = 0;
    let mut next = 0;
    while next < successors.len() {
        bits |= 1 << successors[next] as u8;
        next += 1;
    }
    bits
}

impl State {
    /// The state with this code, if there is one.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        STATES.get(usize::from(code)).copied()
    }

    /// The code of the state, its position in [`STATES`].
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The public name, as in JSON and in Python's `ComponentState`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Unknown => "unknown",
            Registering => "registering",
            Initializing => "initializing",
            Starting => "starting",
            Ready => "ready",
            Degraded => "degraded",
            Failed => "failed",
            Stopping => "stopping",
            Stopped => "stopped",
        }
    }

    /// True when the table has this transition.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        MASKS[usize::from(self.code())] & (1 << next.code()) != 0
    }

    /// The states that may follow, in code order.
    pub fn successors(self) -> impl Iterator<Item = Self> {
        STATES.into_iter().filter(move |next| self.may_become(*next))
    }

    /// True when an instance in this state can be replaced by a new one.
    #[must_use]
    pub const fn ended(self) -> bool {
        matches!(self, Failed | Stopped)
    }
}
