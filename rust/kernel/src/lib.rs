//! Pure data structures of the Tekton control plane.
//!
//! | module | what it answers |
//! |---|---|
//! | [`graph`] | in which order can components start, what is cyclic, what may start now |
//! | [`lifecycle`] | which state may follow which |
//! | [`bulk`] | the same for millions of pairs |
//! | [`lease`] | whose heartbeat is overdue |
//! | [`wheel`] | which timers are due |
//! | [`table`] | the head of the registry: who exists, in which state, with which lease |
//! | [`subject`] | who listens to a subject; what a permission covers |
//! | [`message`] | what a message says in its header, and that all of it is sound |
//! | [`envelope`] | messages with where they go, many in one block of bytes |
//!
//! Nothing here knows Python, files, sockets, threads or clocks: instants are arguments, answers are values.
#![deny(unsafe_code)]

pub mod bulk;
pub mod envelope;
pub mod graph;
pub mod lease;
pub mod lifecycle;
pub mod message;
pub mod subject;
pub mod table;
pub mod uuid;
pub mod wheel;
