//! How much memory this process may use.

use std::fs;

/// What the control group allows, or else what the machine has, in bytes; nothing where neither says.
pub(super) fn memory() -> Option<usize> {
    let group = fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let machine = fs::read_to_string("/proc/meminfo").ok();
    let machine = machine.as_deref().and_then(of_machine);
    let group = group.as_deref().and_then(of_group);
    // A group may allow more than there is.
    group.into_iter().chain(machine).min()
}

/// A group without a bound says `max`.
fn of_group(text: &str) -> Option<usize> {
    text.trim().parse().ok()
}

fn of_machine(text: &str) -> Option<usize> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_read() {
        assert_eq!(of_group("536870912\n"), Some(512 << 20));
        assert_eq!(of_group("max\n"), None);
        let said = "MemFree: 5 kB\nMemTotal:       16384 kB\n";
        assert_eq!(of_machine(said), Some(16 << 20));
        assert_eq!(of_machine("nothing"), None);
    }
}
