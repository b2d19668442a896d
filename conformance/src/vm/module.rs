//! Kernel modules: which others each needs, and so the order to load them in.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The files of these modules and of all that they need, each after what it needs itself.
pub(super) fn in_order(below: &Path, names: &[&str]) -> Result<Vec<PathBuf>> {
    let mut order = Vec::new();
    for name in names {
        add(below, name, &mut order)?;
    }
    Ok(order)
}

fn add(below: &Path, name: &str, order: &mut Vec<PathBuf>) -> Result<()> {
    let file = search(below, &format!("{name}.ko"))
        .with_context(|| format!("the kernel has no module {name} for networks"))?;
    if order.contains(&file) {
        return Ok(());
    }
    for needed in dependencies(&fs::read(&file)?) {
        add(below, &needed, order)?;
    }
    order.push(file);
    Ok(())
}

/// What the section `.modinfo` says: entries `key=value`, each with a zero byte at its end.
fn dependencies(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else {
        return Vec::new();
    };
    let value = module.get(at + KEY.len()..).unwrap_or_default();
    let value = value.split(|byte| *byte == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(value);
    names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn search(dir: &Path, file: &str) -> Option<PathBuf> {
    let entries: Vec<PathBuf> = fs::read_dir(dir).ok()?.flatten().map(|e| e.path()).collect();
    let named = |path: &&PathBuf| path.file_name().is_some_and(|name| *name == *file);
    let here = entries.iter().find(named).cloned();
    here.or_else(|| entries.iter().filter(|p| p.is_dir()).find_map(|p| search(p, file)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_read() {
        let module = b"\x7fELF\0license=GPL\0depends=mrp,garp\0name=8021q\0";
        assert_eq!(dependencies(module), ["mrp", "garp"]);
        assert_eq!(dependencies(b"license=GPL\0depends=\0name=veth\0"), [""; 0]);
        assert_eq!(dependencies(b"license=GPL\0"), [""; 0]);
    }

    #[test]
    fn what_is_needed_comes_first_and_once() {
        let dir = std::env::temp_dir().join(format!("vc5-modules-{}", std::process::id()));
        fs::create_dir_all(dir.join("net/802")).unwrap();
        for (file, depends) in [
            ("net/8021q", "garp,mrp"),
            ("net/802/garp", "stp"),
            ("net/802/mrp", ""),
            ("net/802/stp", ""),
        ] {
            fs::write(dir.join(format!("{file}.ko")), format!("\0depends={depends}\0")).unwrap();
        }
        let order = in_order(&dir, &["stp", "8021q"]).unwrap();
        let names: Vec<_> =
            order.iter().map(|p| p.file_stem().unwrap().to_str().unwrap()).collect();
        let missing = in_order(&dir, &["bridge"]).unwrap_err().to_string();
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(names, ["stp", "garp", "mrp", "8021q"]);
        assert!(missing.contains("bridge"), "{missing}");
    }
}
