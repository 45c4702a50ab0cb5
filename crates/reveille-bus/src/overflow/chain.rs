//! Nodes that stand in two linked lists each: everything in order, and those of a kind together. Every
//! step is O(1), so that any node can leave at any time.

use slab::Slab;

/// The list of all nodes, in order.
pub(super) const ORDER: usize = 0;
/// The list of the nodes that are alike.
pub(super) const PEERS: usize = 1;

/// The nodes of all lists.
#[derive(Debug)]
pub(super) struct Nodes<T>(Slab<Node<T>>);

#[derive(Debug)]
struct Node<T> {
    links: [Links; 2],
    value: T,
}

#[derive(Debug, Clone, Copy, Default)]
struct Links {
    prev: Option<usize>,
    next: Option<usize>,
}

/// The ends of a list. A node is in at most one list through each of its two links.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct List {
    pub(super) head: Option<usize>,
    pub(super) tail: Option<usize>,
}

impl<T> Nodes<T> {
    pub(super) const fn new() -> Self {
        Self(Slab::new())
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn insert(&mut self, value: T) -> usize {
        let links = [Links::default(); 2];
        self.0.insert(Node { links, value })
    }

    /// Takes out a node that is in no list any more.
    pub(super) fn remove(&mut self, at: usize) -> T {
        self.0.remove(at).value
    }

    pub(super) fn get(&self, at: usize) -> &T {
        &self.0[at].value
    }

    pub(super) fn get_mut(&mut self, at: usize) -> &mut T {
        &mut self.0[at].value
    }

    pub(super) fn prev(&self, at: usize, by: usize) -> Option<usize> {
        self.0[at].links[by].prev
    }

    pub(super) fn next(&self, at: usize, by: usize) -> Option<usize> {
        self.0[at].links[by].next
    }

    /// Puts a node at the end of a list.
    pub(super) fn link(&mut self, list: &mut List, by: usize, at: usize) {
        self.0[at].links[by] = Links {
            prev: list.tail,
            next: None,
        };
        match list.tail.replace(at) {
            Some(tail) => self.0[tail].links[by].next = Some(at),
            None => list.head = Some(at),
        }
    }

    /// Takes a node out of a list.
    pub(super) fn unlink(&mut self, list: &mut List, by: usize, at: usize) {
        let Links { prev, next } = std::mem::take(&mut self.0[at].links[by]);
        match prev {
            Some(prev) => self.0[prev].links[by].next = next,
            None => list.head = next,
        }
        match next {
            Some(next) => self.0[next].links[by].prev = prev,
            None => list.tail = prev,
        }
    }
}
