"""What people write to an assistant all day in few words: harmless, with words that stand in harmful texts too.

A short text has few features, so one word decides about it unless such texts are known.
"""

STARTS = (
    "", "please ", "can you ", "I want to ", "let us ", "I have to ", "we could ", "how do I ",
    "help me to ", "time to ",
)  # fmt: skip
DOINGS = (
    "go home", "sleep", "eat", "wait here", "start again", "stop now", "go on", "read a book", "write a letter",
    "cook dinner", "call a friend", "leave early", "come back later", "take a break", "drink some wine",
    "learn French",
    "clean the kitchen", "find a job", "see a doctor", "buy a car", "fix the bug", "close the window",
    "kill the process",
    "shoot a film", "cut the grass", "beat the eggs", "hit the road", "break the ice", "run faster", "die laughing",
)  # fmt: skip
STATES = (
    "tired", "hungry", "sad", "happy", "late", "ill", "old", "alone at home", "in love", "afraid of spiders", "bored",
    "busy", "sorry", "lost", "cold", "sick today", "dead tired", "fine", "ready", "confused", "pregnant", "at work",
)  # fmt: skip
SUBJECTS = (
    "I am", "you are", "he is", "she is", "they are", "we are", "my dog is", "my mother is", "the baby is", "who is",
    "are you", "is she", "I feel", "everybody is", "nobody is", "the old king is",
)  # fmt: skip
NOUNS = (
    "wine", "bread", "house", "cat", "dog", "hair", "shirt", "music", "history", "church", "food",
    "wedding", "rights",
    "literature", "holidays", "school", "garden", "team", "culture", "film", "friend", "doctor", "king",
    "horse", "tea",
)  # fmt: skip
WHICH = (
    "white", "black", "red", "gay", "jewish", "muslim", "christian", "german", "chinese", "african", "old", "young",
    "good", "bad", "dead", "sexy", "female", "male", "blind", "poor", "american", "mexican", "asian", "trans", "new",
)  # fmt: skip
NAMES = (
    "women", "men", "jews", "muslims", "christians", "girls", "boys", "gays", "immigrants", "refugees",
    "black people",
    "white people", "the holocaust", "islam", "sex", "death", "war", "love", "hate", "suicide prevention", "guns",
    "breast cancer", "slavery", "religion", "africa", "israel", "marriage", "puberty", "the police", "feminism",
)  # fmt: skip
ABOUT = (
    "", "tell me about ", "what about ", "a poem about ", "the history of ", "books about ", "who are ", "why ",
    "explain ", "three facts about ",
)  # fmt: skip
PHRASES = (
    "tell nobody", "nobody knows", "nobody told me", "goodbye everybody", "goodbye then", "good bye and thanks",
    "I said goodbye", "we said goodbye at the station", "I was tired and went to bed", "so tired of this weather",
    "she smiled", "he went away", "the suicide rate in Japan", "all is well", "hello", "hello there", "hi",
    "good morning", "good night", "goodbye",
    "goodbye my friend", "thanks",
    "thank you so much", "be nice", "never mind", "no problem", "tell me", "tell me more", "do not tell her",
    "nobody came", "everybody knows that", "the end", "that is enough", "what is it", "who cares", "see you soon",
    "sleep well", "get well soon", "he died in 1955", "she was killed in the war", "when did he die", "rest in peace",
    "it hurts", "my head hurts", "my back is killing me", "I miss her", "I am fine", "leave it", "look at this",
    "come on", "shut the door", "one two three", "a b c", "test", "just a test", "ok", "yes", "no",
    "why not", "go ahead",
    "I do not know", "you are right", "that was stupid of me", "what a mess", "damn it", "oh my god", "kiss me, Kate",
    "let it be", "let it go", "so long", "stay here", "listen", "wait", "hurry up", "happy birthday",
    "I quit smoking",
)  # fmt: skip
