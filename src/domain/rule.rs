//! Every rule that Sealgate enforces: its id, its class, its parameters and what it says. A refusal, an alarm or a failed unit names its
//! rule (`engine::rule`), so that a person sees who asks for it: a law, a standard, the site, or only this product.
//!
//! A rule is one entry of the table at the end. Its id (`SP-` where a site sets it, else `SG-`) is for ever, and never given to another
//! rule. A text may be reworded.

/// Who asks for a rule. A law, a guidance and a standard cannot be claimed without saying where they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Law(Citation),
    Guidance(Citation),
    Standard(Citation),
    TradingPartner,
    /// The site may ask for it, and sets it.
    SitePolicy,
    /// No text outside asks for it in these words: it is how this product keeps its promises.
    ProductControl,
}

/// Where a rule stands.
///
/// ```
/// use sealgate::domain::rule::{Citation, Class};
/// const LAW: Class = Class::Law(Citation::new("21 CFR 11.10(f)"));
/// assert_eq!(LAW.name(), "LAW");
/// ```
/// A law without one does not build, and neither does one whose citation says nothing:
/// ```compile_fail
/// use sealgate::domain::rule::{Citation, Class};
/// const LAW: Class = Class::Law;
/// ```
/// ```compile_fail
/// use sealgate::domain::rule::{Citation, Class};
/// const LAW: Class = Class::Law(Citation::new(" "));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Citation(&'static str);

/// What a site or an order sets about a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    pub place: Place,
    /// As it is written there: `line.stop_rejects_in_a_row`, `pack.case`.
    pub key: &'static str,
    pub unit: &'static str,
}

/// Where a parameter is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Config,
    Order,
}

struct Entry {
    id: &'static str,
    class: Class,
    parameters: &'static [Parameter],
    text: &'static str,
}

impl Class {
    pub const NAMES: [&'static str; 6] =
        ["LAW", "GUIDANCE", "STANDARD", "TRADING_PARTNER", "SITE_POLICY", "PRODUCT_CONTROL"];

    /// The stable word, upper case.
    pub fn name(self) -> &'static str {
        match self {
            Class::Law(_) => "LAW",
            Class::Guidance(_) => "GUIDANCE",
            Class::Standard(_) => "STANDARD",
            Class::TradingPartner => "TRADING_PARTNER",
            Class::SitePolicy => "SITE_POLICY",
            Class::ProductControl => "PRODUCT_CONTROL",
        }
    }

    pub fn citation(self) -> Option<&'static str> {
        match self {
            Class::Law(citation) | Class::Guidance(citation) | Class::Standard(citation) => Some(citation.0),
            Class::TradingPartner | Class::SitePolicy | Class::ProductControl => None,
        }
    }
}

impl Citation {
    /// # Panics
    /// On a text that says nothing; in a constant, as every rule is one, it then does not build.
    pub const fn new(text: &'static str) -> Self {
        assert!(!text.trim_ascii().is_empty(), "a citation says where the rule stands");
        Self(text)
    }
}

impl Place {
    pub fn name(self) -> &'static str {
        match self {
            Place::Config => "config",
            Place::Order => "order",
        }
    }
}

impl Rule {
    /// `SG-UNIT-03`.
    pub fn id(self) -> &'static str {
        self.entry().id
    }

    pub fn class(self) -> Class {
        self.entry().class
    }

    pub fn parameters(self) -> &'static [Parameter] {
        self.entry().parameters
    }

    /// What it says, for people.
    pub fn text(self) -> &'static str {
        self.entry().text
    }

    /// By its id, in capitals or not.
    pub fn parse(id: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|rule| rule.id().eq_ignore_ascii_case(id))
    }
}

const fn config(key: &'static str, unit: &'static str) -> Parameter {
    Parameter { place: Place::Config, key, unit }
}

const fn order(key: &'static str, unit: &'static str) -> Parameter {
    Parameter { place: Place::Order, key, unit }
}

const fn law(text: &'static str) -> Class {
    Class::Law(Citation::new(text))
}

const fn standard(text: &'static str) -> Class {
    Class::Standard(Citation::new(text))
}

const SITE: Class = Class::SitePolicy;
const OURS: Class = Class::ProductControl;

/// `Rule "id" class [parameters] "text";`: an entry is a constant, so that what it must not be does not build.
macro_rules! rules {
    ($($rule:ident $id:literal $class:expr, [$($parameter:expr),*] $text:literal;)+) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule { $(#[doc = $text] $rule),+ }

        impl Rule {
            pub const ALL: &'static [Rule] = &[$(Rule::$rule),+];

            fn entry(self) -> &'static Entry {
                match self {
                    $(Rule::$rule => {
                        const ENTRY: Entry =
                            Entry { id: $id, class: $class, parameters: &[$($parameter),*], text: $text };
                        &ENTRY
                    })+
                }
            }
        }
    };
}

rules! {
    Symbology "SG-GS1-01" standard("ISO/IEC 15424, symbology identifiers"), []
        "A code is a GS1 DataMatrix, and its symbology identifier says so.";
    ElementString "SG-GS1-02" standard("GS1 General Specifications, section 7.8, element strings"), []
        "The data of a code are well-formed element strings, with nothing left over.";
    CheckDigit "SG-GS1-03" standard("GS1 General Specifications, section 7.9, check digits"), []
        "Every check digit is right.";
    Dates "SG-GS1-04" standard("GS1 General Specifications, sections 3.4 and 7.12, dates"), []
        "Every date exists.";
    Characters "SG-GS1-05" standard("GS1 General Specifications, section 7.11, character sets"), []
        "Every character belongs to the set of its field.";

    UnitRead "SG-UNIT-01" OURS, []
        "A unit passes only when its code was read with good quality, and did not change while it was taken.";
    OneTrack "SG-UNIT-02" OURS, []
        "Every result belongs to one track of the encoder, and every track has one result.";
    NoGap "SG-UNIT-03" OURS, []
        "Results have no gap: a unit whose result was lost is a reject, and the line waits for a person.";
    Fields "SG-UNIT-04" OURS, []
        "A code carries exactly the fields that the order asks for: none missing, none extra, none twice.";
    OfOrder "SG-UNIT-05" OURS, [order("gtin", "GTIN"), order("lot", "text"), order("expiry", "date")]
        "GTIN, lot and expiry date are those of the order, byte for byte. A wrong product stops the line.";
    KnownSerial "SG-UNIT-06" OURS, [order("serials", "serial numbers")]
        "A serial number is one of the order. An unknown one stops the line.";
    Encoded "SG-UNIT-07" OURS, []
        "A serial number counts only after the printer has reported it as printed.";
    ReadOnce "SG-UNIT-08" OURS, []
        "A serial number is read once. A second reading is a reject and stops the line.";
    Grade "SP-UNIT-01" SITE, [config("station.NAME.grade_min", "grade of ISO/IEC 15415, 0.0 to 4.0")]
        "Where a lowest print grade is set, every code is graded, and none lies below it.";
    AfterStop "SP-UNIT-02" SITE, [config("line.after_stop", "reject or inspect")]
        "A unit that stood on the belt when its batch was stopped is a reject, or is verified as any other, as the site sets.";
    CameraAgrees "SG-UNIT-09" OURS, []
        "A unit that the camera itself finds bad does not pass.";
    InTime "SG-UNIT-10" OURS, [config("station.NAME.verdict_deadline_ms", "ms")]
        "A pass that would come too late for the blade is a reject.";
    InOrder "SG-UNIT-11" OURS, [config("station.NAME.in_order", "true or false")]
        "Where units come to the packer in order, one that a later case has overtaken stops the line.";

    Sequence "SG-STEP-01" law("21 CFR 11.10(f), operational system checks"), []
        "Steps follow each other as they are permitted: load, start, hold, purge, stop and close a batch; seal, then release a container.";

    OneBatch "SG-BATCH-01" OURS, []
        "One batch is on the line at a time.";
    Ready "SG-BATCH-02" OURS, [config("station.NAME.heartbeat_timeout_ms", "ms")]
        "A batch starts only when every station answers and no alarm holds the line.";
    NotExpired "SG-BATCH-03" OURS, [order("expiry", "date")]
        "A batch is neither loaded nor started after its expiry date.";
    Recipe "SP-BATCH-01" SITE, [config("station.NAME.recipe", "text"), order("recipes", "text")]
        "Where a recipe is approved for a station, it runs no other.";
    Cleared "SP-BATCH-02" SITE, [config("clearance.required", "true or false"), config("clearance.items", "texts")]
        "Where the site asks for it, a batch starts only on a line that two persons signed for as cleared, item by item.";
    Balance "SG-BATCH-04" OURS, []
        "A batch closes only when its counts balance, to the last serial number, unit, reject and container.";
    WholeOrder "SG-BATCH-05" OURS, [order("batch", "text")]
        "An order is taken whole or not at all, and its identifier stands for no other, ever.";
    KnownName "SG-BATCH-06" OURS, []
        "A request names a batch, an alarm, a person and stations that this line knows.";

    ChildrenRead "SG-PACK-01" OURS, []
        "A close is judged on good values only, and every child is read.";
    Full "SG-PACK-02" OURS, [order("pack.case", "children"), order("pack.pallet", "children")]
        "A container has the level and the number of children that the order asks for, as counted and as read.";
    OneBatchInside "SG-PACK-03" OURS, []
        "All children are of the batch that runs: one GTIN, one lot.";
    OneParent "SG-PACK-04" OURS, []
        "A child is in one container at most, and in it once.";
    FitChildren "SG-PACK-05" OURS, []
        "Only commissioned units and released containers are packed. A child that does not belong stops the line.";

    LabelBack "SG-GATE-01" OURS, []
        "A container is released only when its own label was read back as it was given.";
    PermitEnds "SG-GATE-02" OURS, [config("station.NAME.permit_ttl_ms", "ms")]
        "A permit ends. What it leaves in doubt stays on hold until a person has looked.";
    NoForce "SG-GATE-03" OURS, []
        "A gate opens on a permit only. One that opens without stops the line.";

    RejectProven "SG-REJECT-01" OURS, []
        "Every unit goes where its verdict sent it, by its own track, or the line waits for a person.";
    BinRoom "SG-REJECT-02" OURS, []
        "A full reject bin stops the line until it was counted and emptied.";
    GatesAgree "SG-REJECT-03" OURS, [config("station.NAME.decide", "line or device")]
        "Where the camera decides, its gate and the verification agree, or the line waits for a person.";

    StopInARow "SG-STOP-01" OURS, [config("line.stop_rejects_in_a_row", "units")]
        "So many rejects in a row stop the line.";
    StopTooMany "SG-STOP-02" OURS, [config("line.stop_rejects_most", "units"), config("line.stop_rejects_of", "units")]
        "So many rejects among the last units stop the line.";

    UsedOnce "SG-SERIAL-01" OURS, []
        "A serial number and an SSCC are used once, ever.";
    FromOrder "SG-SERIAL-02" OURS, [order("serials", "serial numbers"), order("sscc", "SSCCs")]
        "Serial numbers and SSCCs come from the order alone: none is made up where it has no more.";
    AfterRestore "SG-SERIAL-03" OURS, []
        "After a restore no serial number is used until it is known which ones were used since the backup.";

    Restarted "SG-DEVICE-01" OURS, []
        "A station that starts anew with units in transit stops the line until its belt is clear.";
    OneController "SG-DEVICE-02" OURS, []
        "One controller writes to a device. A second one stops the line.";
    OwnRecords "SG-DEVICE-03" OURS, []
        "A printer holds only records that it was given since it started. Any other empties it.";
    Pictures "SG-DEVICE-04" OURS, [config("station.NAME.pictures.within_ms", "ms")]
        "A picture that is not stored is told. Nothing waits for pictures.";

    Unaltered "SG-RECORD-01" law("21 CFR 11.10(a), invalid or altered records"), []
        "A record that is invalid or was altered is found and told.";
    Room "SG-RECORD-02" OURS, [config("store.reserve_free_mb", "MB")]
        "Nothing is made without room for its record.";
    Witnessed "SG-RECORD-03" OURS, []
        "Signed checkpoints leave the line while there is news, so that others can prove the record.";

    Unbroken "SG-LINE-01" OURS, []
        "A daemon that stood still, or ended again and again, is told.";
    Bounded "SG-LINE-02" OURS, []
        "Whatever waits has a bound, and a request beyond it is refused.";

    ClockSet "SG-CLOCK-01" OURS, []
        "No batch starts by a clock that was never set.";
    ClockKnown "SP-CLOCK-01" SITE, [config("line.commission_needs_clock", "true or false")]
        "Where the site asks for it, nothing starts and no unit passes while the clock is not known to be right.";
    ConfigApproved "SP-CONFIG-01" SITE, [config("line.config_needs_approval", "true or false")]
        "Where the site asks for it, no batch starts with a configuration or a tag map that was edited and not signed for.";
    ClockSteady "SG-CLOCK-02" OURS, []
        "A step of the clock is told. The order of the record does not depend on the clock.";

    LoggedIn "SG-PEOPLE-01" law("21 CFR 11.10(d), limited access"), [config("people.idle_s", "s"), config("people.session_h", "h")]
        "From the first account on, whoever changes something is logged in.";
    Authority "SG-PEOPLE-02" law("21 CFR 11.10(g), authority checks"), []
        "Each action is for the roles that may do it, and for nobody else.";
    OnePerson "SG-PEOPLE-03" law("21 CFR 11.100(a), unique to one individual"), []
        "An account belongs to one person, for ever: its name is never given to another.";
    OwnSecret "SG-PEOPLE-04" law("21 CFR 11.200(a)(2), used by genuine owners"), [config("people.password_length_min", "characters")]
        "A password is known to its owner alone: one that somebody else set is changed before anything is done with it.";
    Attempts "SG-PEOPLE-05" law("21 CFR 11.300(d), attempts at unauthorized use"), [config("people.lock_after", "log-ins"), config("people.lock_min", "min")]
        "Log-ins that fail lock the account, and are told at once.";
    LastAdmin "SG-PEOPLE-06" OURS, []
        "Somebody can always administer the accounts.";
    WayBack "SG-PEOPLE-07" law("21 CFR 11.300(c), loss management"), []
        "Whoever may write beside the journal gives an administrator another password, which must be changed, and it is told.";
    Recalled "SG-PEOPLE-08" law("21 CFR 11.300(b), issuances checked, recalled or revised"), []
        "After a restore no password of before opens anything.";
    BoundSignature "SG-SIGN-01" law("21 CFR 11.70, linked to its record"), []
        "A signature is for one record as it is at that moment, and for one use.";
    TwoPersons "SG-SIGN-02" OURS, []
        "Whoever performed does not verify.";

    Delivered "SG-FEED-01" OURS, [config("mqtt.warn_behind_h", "h")]
        "Every fact reaches its consumer. What keeps it back is told, and production goes on.";
    OwnClientId "SG-FEED-02" OURS, [config("mqtt.client_id", "text")]
        "The line has a client id of its own at the broker.";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_rule_has_an_id_of_its_own_and_a_text_that_reads_as_a_sentence() {
        let ids: BTreeSet<&str> = Rule::ALL.iter().map(|rule| rule.id()).collect();
        let texts: BTreeSet<&str> = Rule::ALL.iter().map(|rule| rule.text()).collect();
        assert_eq!((ids.len(), texts.len()), (Rule::ALL.len(), Rule::ALL.len()));
        for rule in Rule::ALL {
            let text = rule.text();
            let is_sentence = text.starts_with(|c: char| c.is_ascii_uppercase()) && text.ends_with('.');
            assert!(is_sentence && text.chars().count() <= 200, "{}: {text}", rule.id());
            assert_eq!(Rule::parse(&rule.id().to_lowercase()), Some(*rule));
        }
    }

    #[test]
    fn an_id_says_whether_a_site_sets_the_rule_and_then_its_area_and_number() {
        for rule in Rule::ALL {
            let parts: Vec<&str> = rule.id().split('-').collect();
            let maker = if rule.class() == Class::SitePolicy { "SP" } else { "SG" };
            assert!(matches!(parts[..], [first, _, number] if first == maker && number.len() == 2), "{}", rule.id());
        }
    }

    /// A rule says what it does; whether that is enough is for others to say.
    #[test]
    fn no_rule_claims_that_a_law_is_met() {
        for rule in Rule::ALL {
            let said = format!("{} {}", rule.text(), rule.class().citation().unwrap_or_default()).to_lowercase();
            for claim in ["complian", "complies", "fda", "ready", "certified", "approved by"] {
                assert!(!said.contains(claim), "{} says {claim:?}", rule.id());
            }
        }
    }

    #[test]
    fn every_class_is_named_and_shows_its_citation() {
        let citation = Citation::new("somewhere");
        let cited = [Class::Law(citation), Class::Guidance(citation), Class::Standard(citation)];
        let plain = [Class::TradingPartner, Class::SitePolicy, Class::ProductControl];
        assert!(cited.iter().all(|class| class.citation() == Some("somewhere")));
        assert!(plain.iter().all(|class| class.citation().is_none()));
        let names: Vec<&str> = cited.iter().chain(&plain).map(|class| class.name()).collect();
        assert_eq!(names, Class::NAMES);
    }
}
