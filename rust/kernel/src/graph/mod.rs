//! Dependency graphs over small numbers: an edge goes from a node to what it depends on.
//!
//! Nodes are numbered in the order in which the caller knows them; that order breaks every tie, so all answers are
//! deterministic. Everything is iterative: a chain of a million nodes is no deeper for the stack than one of ten.
//!
//! | module | |
//! |---|---|
//! | [`Csr`] | the graph itself, compressed rows |
//! | [`resolve()`] | start order and one cycle per strongly connected component |
//! | [`waves()`] | what can start at the same time |
//! | [`ReadySet`] | what may start now, fed with what is done |
//! | [`reachable()`], [`critical_path()`] | who is affected; what takes longest |
//! | [`identity`] | from object addresses to node numbers |

mod critical;
mod csr;
mod cycle;
mod dfs;
pub mod identity;
mod reach;
mod ready;
mod resolve;
mod tarjan;
mod waves;

pub use critical::critical_path;
pub use csr::{Csr, CsrBuilder, TooLarge};
pub use reach::reachable;
pub use ready::ReadySet;
pub use resolve::{Resolution, resolve};
pub use waves::waves;
