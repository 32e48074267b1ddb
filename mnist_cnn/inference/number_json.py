"""The format in which `predict --json` and the server give a number that was read."""

from typing import Any, Dict, Optional

from mnist_cnn.inference.classifier import Number


def describe_number(number: Optional[Number]) -> Dict[str, Any]:
    """Describes a number by values that JSON has.

    Args:
      number: None if no digit was found.

    Returns:
      {"class", "probability", "probabilities", "text", "digits"}, with one dict {"class", "probability",
      "probabilities", "box": [left, top, right, bottom]} in "digits" for each digit. The first three keys belong to
      images of one digit: for several digits "class" is None and "probability" is the number's, without
      "probabilities"; for no digit "class" is None, and the next two are missing.
    """
    if number is None:
        return {"class": None, "text": "", "digits": []}
    digits = [
        {
            "class": digit.digit_class,
            "probability": digit.probability,
            "probabilities": digit.probabilities.tolist(),
            "box": list(digit.box),
        }
        for digit in number.digits
    ]
    description = {"class": None, "probability": number.probability}
    if len(digits) == 1:
        description = {key: digits[0][key] for key in ("class", "probability", "probabilities")}
    return {**description, "text": number.text, "digits": digits}
