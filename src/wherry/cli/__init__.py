"""The only room that prints, exits or reads argv. A verb's room is imported when the verb is called."""
