DROP FUNCTION observability.touch_updated_at();
DROP FUNCTION observability.bring_back(text);
DROP FUNCTION observability.keep(text);
