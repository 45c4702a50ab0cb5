//! Which crate may depend on which: the crate map as data, checked against every manifest.
//!
//! Dependencies of the product (normal and build) are held to the table; those of tests may
//! also reach the conformance kit and the default backend. Below the gateway nothing knows HTTP,
//! and the lowest crates know no runtime.

use std::fs;
use std::path::Path;

use cargo_metadata::{DependencyKind, MetadataCommand};

use super::Finding;

/// One crate and what it may depend on.
struct Row {
    name: &'static str,
    /// The workspace's crates that it may use.
    may: &'static [&'static str],
    /// The outside crates that it must not use.
    never: &'static [Ban],
}

/// Outside crates that some of ours must not know, and the reason.
#[derive(Clone, Copy)]
struct Ban {
    crates: &'static [&'static str],
    because: &'static str,
}

const HTTP: Ban = Ban {
    crates: &[
        "axum",
        "http",
        "http-body",
        "http-body-util",
        "hyper",
        "hyper-util",
        "reqwest",
        "tower-http",
    ],
    because: "no crate below the gateway knows HTTP",
};

const RUNTIME: Ban = Ban {
    crates: &["tokio", "tokio-stream", "tokio-util"],
    because: "the lowest crates are free of any runtime",
};

/// Every crate of the workspace, each below those that it may use.
const TABLE: &[Row] = &[
    Row {
        name: "reveille-types",
        may: &[],
        never: &[HTTP, RUNTIME],
    },
    Row {
        name: "reveille-core",
        may: &["reveille-types"],
        never: &[HTTP, RUNTIME],
    },
    Row {
        name: "reveille-backend",
        may: &["reveille-types", "reveille-core"],
        never: &[HTTP, RUNTIME],
    },
    Row {
        name: "reveille-memory",
        may: STORAGE,
        never: &[HTTP, RUNTIME],
    },
    Row {
        name: "reveille-archive",
        may: STORAGE,
        never: &[],
    },
    Row {
        name: "reveille-nats",
        may: STORAGE,
        never: &[],
    },
    Row {
        name: "reveille-redis",
        may: STORAGE,
        never: &[],
    },
    Row {
        name: "reveille-queue",
        may: STORAGE,
        never: &[HTTP],
    },
    Row {
        name: "reveille-bus",
        may: &[
            "reveille-types",
            "reveille-core",
            "reveille-backend",
            "reveille-queue",
        ],
        never: &[HTTP],
    },
    Row {
        name: "reveille-testkit",
        may: &[
            "reveille-types",
            "reveille-core",
            "reveille-backend",
            "reveille-memory",
            "reveille-queue",
        ],
        never: &[HTTP],
    },
    Row {
        name: "reveille-tasks",
        may: &[
            "reveille-types",
            "reveille-core",
            "reveille-queue",
            "reveille-bus",
        ],
        never: &[],
    },
    Row {
        name: "reveille-gateway",
        may: &[
            "reveille-types",
            "reveille-core",
            "reveille-backend",
            "reveille-queue",
            "reveille-bus",
        ],
        never: &[],
    },
    Row {
        name: "reveille-client",
        may: &["reveille-types"],
        never: &[],
    },
    Row {
        name: "reveille-load",
        may: &[],
        never: &[],
    },
    Row {
        name: "reveille",
        may: LIBRARIES,
        never: &[],
    },
    Row {
        name: "reveille-e2e",
        may: EVERYTHING,
        never: &[],
    },
    Row {
        name: "xtask",
        may: &[],
        never: &[],
    },
];

/// What a backend may use, and what the queue needs to drive one.
const STORAGE: &[&str] = &["reveille-types", "reveille-core", "reveille-backend"];

const LIBRARIES: &[&str] = EVERYTHING.split_at(EVERYTHING.len() - 1).0;

/// The product's crates, the façade last.
const EVERYTHING: &[&str] = &[
    "reveille-types",
    "reveille-core",
    "reveille-backend",
    "reveille-memory",
    "reveille-archive",
    "reveille-nats",
    "reveille-redis",
    "reveille-queue",
    "reveille-bus",
    "reveille-testkit",
    "reveille-tasks",
    "reveille-gateway",
    "reveille-client",
    "reveille-load",
    "reveille",
];

/// What tests may use beside what their crate may.
const FOR_TESTS: &[&str] = &["reveille-testkit", "reveille-memory"];

/// What the rules see of a workspace crate.
struct Package {
    name: String,
    /// Its manifest's path, relative to the root.
    path: String,
    /// Its manifest's text, for the line numbers.
    manifest: String,
    dependencies: Vec<Dependency>,
}

/// An entry of a manifest, under the real name of the crate it names.
struct Dependency {
    name: String,
    for_tests: bool,
}

/// Every rule of this group on every crate of the workspace.
pub(super) fn check(root: &Path) -> Result<Vec<Finding>, String> {
    let packages = packages(root)?;
    let members: Vec<_> = packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    Ok(packages
        .iter()
        .flat_map(|package| arrows(package, &members))
        .collect())
}

fn packages(root: &Path) -> Result<Vec<Package>, String> {
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .no_deps()
        .exec()
        .map_err(|error| format!("cargo metadata: {error}"))?;
    let package = |package: cargo_metadata::Package| {
        let path = package.manifest_path.as_path();
        let manifest = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
        let path = path
            .strip_prefix(&metadata.workspace_root)
            .unwrap_or(path)
            .to_string();
        let dependencies = package
            .dependencies
            .into_iter()
            .map(|dependency| Dependency {
                for_tests: dependency.kind == DependencyKind::Development,
                name: dependency.name,
            });
        let name = package.name.to_string();
        Ok(Package {
            name,
            path,
            manifest,
            dependencies: dependencies.collect(),
        })
    };
    metadata.packages.into_iter().map(package).collect()
}

fn arrows(package: &Package, members: &[&str]) -> Vec<Finding> {
    let Some(row) = TABLE.iter().find(|row| row.name == package.name) else {
        return vec![Finding::new(
            &package.path,
            1,
            format!("`{}` is not in the table of crates", package.name),
            "add a row with what it may depend on to xtask/src/tidy/arrows.rs",
        )];
    };
    package
        .dependencies
        .iter()
        .filter_map(|dependency| arrow(package, row, dependency, members))
        .collect()
}

fn arrow(
    package: &Package,
    row: &Row,
    dependency: &Dependency,
    members: &[&str],
) -> Option<Finding> {
    let Dependency { name, for_tests } = dependency;
    let name = name.as_str();
    let finding = |why: &str, mend: &str| {
        let line = line_of(&package.manifest, dependency);
        let what = format!("`{}` must not depend on `{name}`: {why}", package.name);
        Finding::new(&package.path, line, what, mend)
    };
    if members.contains(&name) {
        let allowed = row.may.contains(&name) || (*for_tests && FOR_TESTS.contains(&name));
        let mend = "move the code to a crate that may, or change the arrow in the design and then \
                    in xtask/src/tidy/arrows.rs";
        return (!allowed).then(|| finding("the crate map has no such arrow", mend));
    }
    if *for_tests {
        return None;
    }
    let ban = row.never.iter().find(|ban| ban.crates.contains(&name))?;
    Some(finding(
        ban.because,
        "move the code that needs it to a higher crate",
    ))
}

/// The line that names the dependency, counted from 1; 1 where the manifest hides it.
fn line_of(manifest: &str, dependency: &Dependency) -> usize {
    let Dependency { name, for_tests } = dependency;
    let mut in_section = false;
    for (index, line) in manifest.lines().map(str::trim).enumerate() {
        let named = if line.starts_with('[') {
            in_section =
                line.contains("dependencies") && line.contains("dev-dependencies") == *for_tests;
            line.ends_with(&format!("dependencies.{name}]"))
        } else {
            let key = line.split(['.', '=']).next().unwrap_or_default();
            key.trim() == name || line.contains(&format!("package = \"{name}\""))
        };
        if in_section && named {
            return index + 1;
        }
    }
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMBERS: &[&str] = EVERYTHING;

    fn package(name: &str, dependencies: &[(&str, bool)]) -> Package {
        Package {
            name: name.into(),
            path: format!("crates/{name}/Cargo.toml"),
            manifest: String::new(),
            dependencies: dependencies
                .iter()
                .map(|&(name, for_tests)| Dependency {
                    name: name.into(),
                    for_tests,
                })
                .collect(),
        }
    }

    fn allowed(name: &str, dependency: &str, for_tests: bool) -> bool {
        arrows(&package(name, &[(dependency, for_tests)]), MEMBERS).is_empty()
    }

    #[test]
    fn every_arrow_of_the_table_points_up() {
        for (index, row) in TABLE.iter().enumerate() {
            for target in row.may {
                let above = TABLE[..index].iter().any(|above| above.name == *target);
                assert!(above, "{} -> {target}", row.name);
            }
        }
    }

    #[test]
    fn the_facade_uses_every_library_and_the_tests_use_the_facade_too() {
        assert!(!LIBRARIES.contains(&"reveille"));
        assert_eq!(LIBRARIES.len(), TABLE.len() - 3);
        assert!(EVERYTHING.contains(&"reveille"));
    }

    #[test]
    fn an_arrow_outside_the_table_is_told() {
        for (name, dependency) in [
            ("reveille-types", "reveille-core"),
            ("reveille-core", "reveille-backend"),
            ("reveille-memory", "reveille-queue"),
            ("reveille-queue", "reveille-memory"),
            ("reveille-bus", "reveille-memory"),
            ("reveille-client", "reveille-core"),
            ("reveille-tasks", "reveille-backend"),
            ("reveille-gateway", "reveille-testkit"),
            ("xtask", "reveille-types"),
        ] {
            assert!(!allowed(name, dependency, false), "{name} -> {dependency}");
        }
        assert!(allowed("reveille-bus", "reveille-queue", false));
    }

    #[test]
    fn tests_may_reach_the_kit_and_the_default_backend_alone() {
        assert!(allowed("reveille-queue", "reveille-memory", true));
        assert!(allowed("reveille-memory", "reveille-testkit", true));
        assert!(!allowed("reveille-queue", "reveille-bus", true));
        assert!(!allowed("reveille-queue", "reveille-testkit", false));
    }

    #[test]
    fn http_below_the_gateway_is_told() {
        for name in [
            "types", "core", "backend", "memory", "queue", "bus", "testkit",
        ] {
            for outside in HTTP.crates {
                assert!(
                    !allowed(&format!("reveille-{name}"), outside, false),
                    "{name} {outside}"
                );
                assert!(
                    allowed(&format!("reveille-{name}"), outside, true),
                    "{name} {outside}"
                );
            }
        }
        assert!(allowed("reveille-gateway", "axum", false));
    }

    #[test]
    fn a_runtime_in_the_lowest_crates_is_told() {
        for name in ["types", "core", "backend", "memory"] {
            assert!(
                !allowed(&format!("reveille-{name}"), "tokio", false),
                "{name}"
            );
            assert!(
                allowed(&format!("reveille-{name}"), "tokio", true),
                "{name}"
            );
        }
        assert!(allowed("reveille-queue", "tokio", false));
    }

    #[test]
    fn a_crate_outside_the_table_is_told() {
        let findings = arrows(&package("reveille-new", &[]), MEMBERS);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].mend.contains("add a row"));
    }

    #[test]
    fn the_finding_points_at_the_line_of_the_right_section() {
        let manifest = "\
[package]
name = \"a\"
[dev-dependencies]
reveille-bus.workspace = true
[dependencies]
reveille-bus-like = \"1\"
reveille-bus = { workspace = true }
renamed = { package = \"hyper\" }
[dependencies.axum]
version = \"1\"
";
        let line = |name: &str, for_tests| {
            line_of(
                manifest,
                &Dependency {
                    name: name.into(),
                    for_tests,
                },
            )
        };
        assert_eq!(line("reveille-bus", true), 4);
        assert_eq!(line("reveille-bus", false), 7);
        assert_eq!(line("hyper", false), 8);
        assert_eq!(line("axum", false), 9);
        assert_eq!(line("absent", false), 1);
    }
}
