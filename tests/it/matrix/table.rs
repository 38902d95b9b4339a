//! The matrix as a table of docs/eras.md, which must be the one there.

use crate::support::{Era, Over};

use super::cell::Side;
use super::{FEATURES, PLACES};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/eras.md");
const BEGIN: &str = "<!-- matrix: written by tests/it/matrix/table.rs -->\n";
const END: &str = "<!-- end of the matrix -->\n";

fn letters(side: Side) -> String {
    let era = if side.0 == Era::Legacy { "L" } else { "M" };
    let over = if side.1 == Over::Stdio { "s" } else { "h" };
    format!("{era}{over}")
}

fn row(cells: impl IntoIterator<Item = String>) -> String {
    let cells: Vec<String> = cells.into_iter().collect();
    format!("| {} |\n", cells.join(" | "))
}

fn table() -> String {
    let heads =
        PLACES.iter().map(|place| format!("{}→{}", letters(place.client), letters(place.upstream)));
    let mut text = row(std::iter::once(String::new()).chain(heads));
    text.extend(["|---", &"|---".repeat(PLACES.len()), "|\n"]);
    for feature in FEATURES {
        let cells = PLACES.iter().map(|_| "yes".to_owned());
        text.push_str(&row(std::iter::once(feature.name.to_owned()).chain(cells)));
    }
    text
}

#[test]
fn the_table_in_the_docs_is_what_the_cells_check() {
    let table = table();
    println!("{table}");
    let page = std::fs::read_to_string(PAGE).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the mark before the table");
    let (old, after) = rest.split_once(END).expect("the mark after the table");
    let new = format!("\n{table}\n");
    if std::env::var_os("WAYPOST_WRITE_DOCS").is_some() {
        std::fs::write(PAGE, format!("{before}{BEGIN}{new}{END}{after}")).unwrap();
    } else {
        assert_eq!(old, new, "WAYPOST_WRITE_DOCS=1 writes it anew");
    }
}

#[test]
fn no_cell_is_missing() {
    assert_eq!(PLACES.len(), 16);
    let mut kinds: Vec<String> =
        PLACES.iter().map(|place| letters(place.client) + &letters(place.upstream)).collect();
    kinds.sort();
    kinds.dedup();
    assert_eq!(kinds.len(), PLACES.len(), "each cell once");
}
