//! The slots of a cluster: which one a key has, and which server has which.

use redis::{FromRedisValue, Value};

/// How many slots a cluster has.
const SLOTS: u16 = 16_384;

/// A server of a cluster, as the cluster names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    pub(crate) host: Box<str>,
    pub(crate) port: u16,
}

impl Node {
    /// The server that `HOST:PORT` names. Without a host it is the one of `teller`, who says so.
    pub(crate) fn parse(text: &str, teller: &Self) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        Self::named(host, port.parse().ok()?, teller)
    }

    fn named(host: &str, port: u16, teller: &Self) -> Option<Self> {
        let host = match host {
            "" => &*teller.host,
            // It is not known even there.
            "?" => return None,
            host => host,
        };
        Some(Self {
            host: host.into(),
            port,
        })
    }
}

/// Slots that follow each other, and their master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) first: u16,
    pub(crate) last: u16,
    pub(crate) master: Node,
}

impl Range {
    pub(crate) fn has(&self, slot: u16) -> bool {
        (self.first..=self.last).contains(&slot)
    }

    /// What `teller` answers to `CLUSTER SLOTS`. Slots of masters that nobody can name are left out.
    pub(crate) fn read_all(answer: Value, teller: &Node) -> Option<Vec<Self>> {
        let ranges = Vec::<Vec<Value>>::from_redis_value(answer).ok()?;
        let read = |range: Vec<Value>| {
            let mut parts = range.into_iter();
            let mut slot = || u16::from_redis_value(parts.next()?).ok();
            let (first, last) = (slot()?, slot()?);
            let mut master = Vec::<Value>::from_redis_value(parts.next()?)
                .ok()?
                .into_iter();
            let host = Option::<String>::from_redis_value(master.next()?).ok()?;
            let port = u16::from_redis_value(master.next()?).ok()?;
            let master = Node::named(&host.unwrap_or_default(), port, teller)?;
            Some(Self {
                first,
                last,
                master,
            })
        };
        Some(ranges.into_iter().filter_map(read).collect())
    }
}

/// The slot of the keys with this hash tag.
pub(crate) fn slot(tag: &str) -> u16 {
    // CRC16 as XMODEM has it.
    let mut crc = 0_u16;
    for byte in tag.bytes() {
        crc ^= u16::from(byte) << 8;
        for _ in 0..8 {
            let carry = crc & 0x8000 != 0;
            crc <<= 1;
            if carry {
                crc ^= 0x1021;
            }
        }
    }
    crc % SLOTS
}

/// A hash tag whose keys have this slot.
pub(crate) fn tag_of(wanted: u16) -> String {
    let mut tags = (0_u32..).map(|n| format!("{n:x}"));
    let found = tags.find(|tag| slot(tag) == wanted);
    found.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(port: u16) -> Node {
        Node {
            host: "h".into(),
            port,
        }
    }

    #[test]
    fn slots_are_those_of_the_specification() {
        // The specification's own example of the checksum, and what a server answers to CLUSTER KEYSLOT.
        assert_eq!(slot("123456789"), 0x31C3);
        assert_eq!((slot("foo"), slot("somekey")), (12_182, 11_058));
        for wanted in [0, 1, 8_191, SLOTS - 1] {
            assert_eq!(slot(&tag_of(wanted)), wanted);
        }
    }

    #[test]
    fn masters_are_read_and_those_without_a_name_are_the_tellers_or_nobodys() {
        let text = |text: &str| Value::BulkString(text.into());
        let master = |host, port| Value::Array(vec![host, Value::Int(port), text("id")]);
        let range = |first, last, master| {
            let replica = Value::Array(vec![text("r"), Value::Int(9), text("id")]);
            Value::Array(vec![Value::Int(first), Value::Int(last), master, replica])
        };
        let answer = Value::Array(vec![
            range(0, 5, master(text("a"), 1)),
            range(6, 6, master(text(""), 2)),
            range(7, 8, master(Value::Nil, 3)),
            range(9, 9, master(text("?"), 4)),
        ]);
        let found = Range::read_all(answer, &node(7)).unwrap_or_default();
        let masters: Vec<_> = found
            .iter()
            .map(|range| {
                (
                    range.first,
                    range.last,
                    &*range.master.host,
                    range.master.port,
                )
            })
            .collect();
        assert_eq!(masters, [(0, 5, "a", 1), (6, 6, "h", 2), (7, 8, "h", 3)]);
        let found = Range::read_all(text("x"), &node(7));
        assert!(found.unwrap_or_default().is_empty());
    }

    #[test]
    fn a_redirection_names_a_server() {
        let teller = node(7);
        let named = |text| Node::parse(text, &teller).map(|node| (node.host, node.port));
        assert_eq!(named("127.0.0.1:1"), Some(("127.0.0.1".into(), 1)));
        assert_eq!(named("::1:2"), Some(("::1".into(), 2)));
        assert_eq!(named(":3"), Some(("h".into(), 3)));
        assert_eq!((named("?:4"), named("x"), named("x:y")), (None, None, None));
    }
}
