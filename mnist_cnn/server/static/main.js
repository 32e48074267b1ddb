// The page's entry. Each module below builds one part of the page; what they share is in state.js.

import "./drawing.js";
import "./prediction.js";
import "./maps.js";
import "./explanation.js";
import "./sliding.js";
import "./replay.js";
import "./filters.js";
import "./mistakes.js";
import "./centring.js";
import "./correction.js";
import { chooseLanguage } from "./i18n.js";

chooseLanguage();
