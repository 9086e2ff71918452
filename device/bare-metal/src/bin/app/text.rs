//! What the station says, in three languages.

/// Language of messages.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// English.
    English,
    /// German.
    German,
    /// French.
    French,
}

/// What can happen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Switched on.
    Started,
    /// The filter has settled.
    Settled,
    /// Above the limit.
    TooHot,
    /// Below the limit.
    TooCold,
    /// Within limits again.
    BackToNormal,
    /// A reading far from the others.
    Spike,
    /// Someone acknowledged an alarm.
    Acknowledged,
    /// A limit was changed.
    LimitChanged,
}

/// Text of an event.
pub fn event(language: Language, event: Event) -> &'static str {
    let [english, german, french] = match event {
        Event::Started => ["station switched on", "Station eingeschaltet", "station mise en marche"],
        Event::Settled if cfg!(feature = "release-1-1") => {
            ["readings are steady", "Messwerte sind stabil", "les mesures sont stables"]
        }
        Event::Settled => ["filter settled", "Filter eingeschwungen", "filtre stabilise"],
        Event::TooHot => [
            "temperature above the limit: check the enclosure's ventilation",
            "Temperatur über dem Grenzwert: Belüftung des Gehäuses prüfen",
            "température au-dessus de la limite : vérifier la ventilation du boîtier",
        ],
        Event::TooCold => [
            "temperature below the limit: check the heater and the door",
            "Temperatur unter dem Grenzwert: Heizung und Tür prüfen",
            "température au-dessous de la limite : vérifier le chauffage et la porte",
        ],
        Event::BackToNormal => [
            "temperature is back within its limits",
            "Temperatur wieder innerhalb der Grenzwerte",
            "température revenue dans les limites",
        ],
        Event::Spike if cfg!(feature = "release-1-1") => [
            "one reading was far from its neighbours and was left out",
            "ein Messwert lag weit neben seinen Nachbarn und wurde ausgelassen",
            "une mesure très éloignée de ses voisines a été écartée",
        ],
        Event::Spike => [
            "one reading was far from its neighbours",
            "ein Messwert lag weit neben seinen Nachbarn",
            "une mesure est très éloignée de ses voisines",
        ],
        Event::Acknowledged => ["alarm acknowledged", "Alarm bestätigt", "alarme acquittée"],
        Event::LimitChanged => ["limit changed", "Grenzwert geändert", "limite modifiée"],
    };
    match language {
        Language::English => english,
        Language::German => german,
        Language::French => french,
    }
}

/// Help, one line a command.
pub static HELP: &[(&str, &str)] = &[
    ("help", "this list"),
    ("status", "temperature, humidity, state of the alarm"),
    ("report", "the readings as one line of JSON"),
    ("log", "events since boot, the oldest first"),
    ("ack", "acknowledge an alarm"),
    ("low N", "set the low limit, in degrees Celsius"),
    ("high N", "set the high limit, in degrees Celsius"),
    ("language en|de|fr", "language of the messages"),
    ("crc", "check sum of the calibration tables"),
    ("table", "calibration table, every 64th entry"),
    #[cfg(feature = "release-1-1")]
    ("dew", "dew point and absolute humidity"),
    #[cfg(feature = "release-1-1")]
    ("csv", "the readings as one line of CSV"),
    ("version", "release and hardware"),
    ("update DIGEST LENGTH", "take an update from the host"),
    ("reset", "start again"),
];
