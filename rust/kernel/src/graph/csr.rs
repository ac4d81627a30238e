//! Compressed sparse rows.

use std::ops::Range;

/// A graph has more nodes or edges than fit into 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

/// A directed graph: the edges of node `n` are `row(n)`, in the order in which they were given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Csr {
    offsets: Vec<u32>,
    targets: Vec<u32>,
}

/// Takes rows in node order.
#[derive(Debug)]
pub struct CsrBuilder {
    offsets: Vec<u32>,
    targets: Vec<u32>,
}

impl CsrBuilder {
    /// Room for `rows` rows; it grows when there are more.
    #[must_use]
    pub fn with_capacity(rows: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self { offsets, targets: Vec::with_capacity(rows * 4) }
    }

    /// Add an edge to the row that is being filled.
    #[inline]
    pub fn push(&mut self, target: u32) {
        self.targets.push(target);
    }

    /// The row is complete; the next one begins.
    ///
    /// # Errors
    /// [`TooLarge`] with more than `u32::MAX` edges.
    #[inline]
    pub fn end_row(&mut self) -> Result<(), TooLarge> {
        let end = u32::try_from(self.targets.len()).map_err(|_| TooLarge)?;
        self.offsets.push(end);
        Ok(())
    }

    /// The graph of `nodes` nodes: rows that were not given are empty.
    ///
    /// # Errors
    /// [`TooLarge`] with `u32::MAX` nodes or more.
    ///
    /// # Panics
    /// When there are more rows than nodes. (An edge that leads outside panics when it is followed.)
    pub fn finish(mut self, nodes: usize) -> Result<Csr, TooLarge> {
        // The largest number is no node's: searches use it as a mark.
        if !u32::try_from(nodes).is_ok_and(|nodes| nodes < u32::MAX) {
            return Err(TooLarge);
        }
        assert!(self.offsets.len() <= nodes + 1, "more rows than nodes");
        debug_assert!(self.targets.iter().all(|node| (*node as usize) < nodes), "an edge leads outside");
        let end = self.offsets.last().copied().unwrap_or(0);
        self.offsets.resize(nodes + 1, end);
        Ok(Csr { offsets: self.offsets, targets: self.targets })
    }
}

impl Csr {
    /// From one list of targets per node.
    ///
    /// # Errors
    /// [`TooLarge`].
    ///
    /// # Panics
    /// When an edge leads outside, at the latest when it is followed.
    pub fn from_rows(rows: &[Vec<u32>]) -> Result<Self, TooLarge> {
        let mut builder = CsrBuilder::with_capacity(rows.len());
        for row in rows {
            builder.targets.extend(row);
            builder.end_row()?;
        }
        builder.finish(rows.len())
    }

    /// How many nodes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// True without nodes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The node numbers, ascending.
    #[must_use]
    pub fn nodes(&self) -> Range<u32> {
        // `finish` has refused more nodes than this holds.
        0..u32::try_from(self.len()).unwrap_or(u32::MAX)
    }

    /// The targets of a node.
    #[must_use]
    #[inline]
    pub fn row(&self, node: u32) -> &[u32] {
        &self.targets[self.span(node)]
    }

    /// The position of a node's row among all edges.
    #[inline]
    pub(super) fn span(&self, node: u32) -> Range<usize> {
        let node = node as usize;
        self.offsets[node] as usize..self.offsets[node + 1] as usize
    }

    /// All edges, row after row.
    #[inline]
    pub(super) fn targets(&self) -> &[u32] {
        &self.targets
    }

    /// All edges turned around, sources ascending in each row.
    #[must_use]
    pub fn reversed(&self) -> Self {
        let mut offsets = vec![0_u32; self.offsets.len()];
        for target in &self.targets {
            offsets[*target as usize + 1] += 1;
        }
        for node in 1..offsets.len() {
            offsets[node] += offsets[node - 1];
        }
        let mut next = offsets.clone();
        let mut targets = vec![0; self.targets.len()];
        for node in self.nodes() {
            for target in self.row(node) {
                let place = &mut next[*target as usize];
                targets[*place as usize] = node;
                *place += 1;
            }
        }
        Self { offsets, targets }
    }

    /// The same graph with each edge once, at its first place.
    #[must_use]
    pub fn without_duplicates(&self) -> Self {
        let mut seen_by = vec![u32::MAX; self.len()];
        let mut offsets = Vec::with_capacity(self.offsets.len());
        let mut targets = Vec::with_capacity(self.targets.len());
        offsets.push(0);
        let mut end = 0;
        for node in self.nodes() {
            for target in self.row(node) {
                if std::mem::replace(&mut seen_by[*target as usize], node) != node {
                    targets.push(*target);
                    end += 1;
                }
            }
            offsets.push(end);
        }
        Self { offsets, targets }
    }
}
