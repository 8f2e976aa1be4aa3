//! Quantities in objects that decoding has accepted. What a quantity is and how it prints is in [`schema::quantity`].

use serde_json::Value;

pub(crate) use schema::quantity::Quantity;

/// The quantity in a tree; what is none reads as zero.
pub(crate) fn of(value: &Value) -> Quantity {
    Quantity::from_tree(value).unwrap_or(Quantity::ZERO)
}

/// The format of plain numbers.
pub(crate) const DECIMAL: schema::quantity::Format = schema::quantity::Format::DecimalSi;

/// The amount rounded up to a whole number.
pub(crate) fn rounded_to_whole(quantity: &Quantity) -> Quantity {
    if is_whole(quantity) { quantity.clone() } else { Quantity::new(quantity.value(), quantity.format()) }
}

/// Whether the amount is below zero.
pub(crate) fn is_negative(quantity: &Quantity) -> bool {
    quantity.sign() < 0
}

/// Whether the amount is a whole number, after rounding up to thousandths as upstream does.
pub(crate) fn is_whole(quantity: &Quantity) -> bool {
    quantity.milli_value() % 1000 == 0
}

/// The amount rounded up to thousandths.
pub(crate) fn rounded_to_milli(quantity: &Quantity) -> Quantity {
    Quantity::new_milli(quantity.milli_value(), quantity.format())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn thousandths_are_the_finest_step() {
        for (text, rounded, whole) in
            [("1u", "1m", false), ("1500m", "1500m", false), ("2k", "2k", true), ("-1", "-1", true)]
        {
            let quantity = of(&json!(text));
            assert_eq!(rounded_to_milli(&quantity).to_string(), rounded, "{text}");
            assert_eq!(is_whole(&quantity), whole, "{text}");
        }
        assert!(is_negative(&of(&json!("-1"))));
        assert!(of(&json!("not one")).is_zero());
    }
}
