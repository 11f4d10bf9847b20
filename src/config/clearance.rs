//! The section `[clearance]`: what is looked at before a batch starts. May be left out.

use super::reader::Section;
use crate::engine::clearance::Clearance;

const ITEMS_MAX: usize = 32;
const ITEM_CHARS_MAX: usize = 120;

pub(super) fn read(mut section: Section<'_>) -> Clearance {
    let is_required = section.flag("required").is_some_and(|field| field.value);
    let items = section.texts("items");
    let allowed = format!("at most {ITEMS_MAX} items, each 1 to {ITEM_CHARS_MAX} characters, none twice");
    let mut kept: Vec<String> = Vec::new();
    if let Some(items) = items {
        if items.value.len() > ITEMS_MAX {
            section.problems().add(items.at.error("has too many items").allowed(allowed.clone()));
        }
        for item in items.value {
            let text = item.value.trim();
            if !(1..=ITEM_CHARS_MAX).contains(&text.chars().count()) || kept.iter().any(|known| known == text) {
                section.problems().add(item.at.error("is no item of a checklist").allowed(allowed.clone()));
            }
            kept.push(text.to_owned());
        }
    }
    if is_required && kept.is_empty() {
        let _: Option<()> = section.missing("items", "a list of what is looked at, since clearance is required");
    }
    section.finish();
    Clearance { is_required, items: kept }
}
