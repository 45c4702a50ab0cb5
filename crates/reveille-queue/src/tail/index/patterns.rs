//! Patterns over kinds, as a tree of their segments that is walked along a kind.

use reveille_types::{Kind, Pattern, PatternPart};
use slab::Slab;

use super::ByText;

/// The beginning of every pattern; never removed.
const ROOT: usize = 0;

/// Patterns, each with a list. Those that begin alike share that part of the tree.
#[derive(Debug)]
pub(super) struct Patterns {
    nodes: Slab<Node>,
    /// Counts segments that were walked, so that no node is entered twice at one.
    step: u64,
    /// The nodes at which a walk stands, and those at which it will; empty in between.
    here: Vec<usize>,
    there: Vec<usize>,
}

/// A pattern up to and including one of its segments.
#[derive(Debug, Default)]
struct Node {
    literals: ByText,
    one: Option<usize>,
    many: Option<usize>,
    /// Whether its own segment stands for zero or more.
    is_many: bool,
    /// If a pattern ends here.
    list: Option<usize>,
    entered: u64,
}

impl Node {
    fn is_needless(&self) -> bool {
        self.literals.is_empty() && (self.one, self.many, self.list) == (None, None, None)
    }

    fn child(&self, part: PatternPart<'_>) -> Option<usize> {
        match part {
            PatternPart::Literal(text) => self.literals.get(text).copied(),
            PatternPart::One => self.one,
            PatternPart::Many => self.many,
        }
    }
}

impl Default for Patterns {
    fn default() -> Self {
        let mut nodes = Slab::new();
        nodes.insert(Node::default());
        Self {
            nodes,
            step: 0,
            here: Vec::new(),
            there: Vec::new(),
        }
    }
}

impl Patterns {
    /// The list of a pattern, to be set if there is none.
    pub(super) fn list(&mut self, pattern: &Pattern) -> &mut Option<usize> {
        let mut at = ROOT;
        for part in pattern.parts() {
            at = match self.nodes[at].child(part) {
                Some(child) => child,
                None => self.grow(at, part),
            };
        }
        &mut self.nodes[at].list
    }

    fn grow(&mut self, at: usize, part: PatternPart<'_>) -> usize {
        let child = self.nodes.insert(Node {
            is_many: part == PatternPart::Many,
            ..Node::default()
        });
        let node = &mut self.nodes[at];
        match part {
            PatternPart::Literal(text) => {
                node.literals.insert(text.into(), child);
            }
            PatternPart::One => node.one = Some(child),
            PatternPart::Many => node.many = Some(child),
        }
        child
    }

    /// Forgets a pattern and its list, and what no other pattern needs of the tree.
    pub(super) fn remove(&mut self, pattern: &Pattern) {
        let parts = pattern.parts();
        let mut path = vec![ROOT];
        for part in &parts {
            let at = path[path.len() - 1];
            let Some(child) = self.nodes[at].child(*part) else {
                return;
            };
            path.push(child);
        }
        self.nodes[path[parts.len()]].list = None;
        for (nth, part) in parts.iter().enumerate().rev() {
            if !self.nodes[path[nth + 1]].is_needless() {
                return;
            }
            self.nodes.remove(path[nth + 1]);
            let parent = &mut self.nodes[path[nth]];
            match part {
                PatternPart::Literal(text) => {
                    parent.literals.remove(*text);
                }
                PatternPart::One => parent.one = None,
                PatternPart::Many => parent.many = None,
            }
        }
    }

    /// How many nodes there are besides the root.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.nodes.len() - 1
    }

    /// Adds the lists of the patterns that match, each once.
    ///
    /// Stands at several nodes at once and enters none of them twice at a segment: so the walk takes
    /// at most the kind's segments times the nodes that can be reached, whatever the patterns.
    pub(super) fn lookup(&mut self, kind: &Kind, found: &mut Vec<usize>) {
        if self.nodes[ROOT].is_needless() {
            return;
        }
        self.step += 1;
        self.enter(ROOT);
        for segment in kind.segments() {
            std::mem::swap(&mut self.here, &mut self.there);
            self.step += 1;
            while let Some(at) = self.here.pop() {
                let node = &self.nodes[at];
                let literal = node.literals.get(segment).copied();
                let again = node.is_many.then_some(at);
                for next in [literal, node.one, again].into_iter().flatten() {
                    self.enter(next);
                }
            }
            if self.there.is_empty() {
                return;
            }
        }
        let lists = self.there.drain(..).filter_map(|at| self.nodes[at].list);
        found.extend(lists);
    }

    /// Stands at a node, and wherever else no further segment is needed to get.
    fn enter(&mut self, mut at: usize) {
        loop {
            let node = &mut self.nodes[at];
            if std::mem::replace(&mut node.entered, self.step) == self.step {
                return;
            }
            self.there.push(at);
            match node.many {
                Some(many) => at = many,
                None => return,
            }
        }
    }
}
